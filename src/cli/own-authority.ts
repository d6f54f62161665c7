import { type Authority, identityKey } from '../auth/index.ts';

/** The one who runs the command, as a daemon of this machine would know them: they see their own builds. */
export function ownAuthority(): Authority {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  return {
    identity: { kind: 'peer', uid, gid, pid: process.pid, groups: [] },
    scopes: new Set(['build']),
    allow: new Set(),
  };
}

/** The owner of the command's builds in the history. */
export function ownOwner(): string {
  return identityKey(ownAuthority().identity);
}
