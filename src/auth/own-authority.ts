import { identityKey } from './identity.ts';
import type { Authority } from './types.ts';

/** The one who runs this process, as a daemon of this machine would know them: they see their own builds. */
export function ownAuthority(): Authority {
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  return {
    identity: { kind: 'peer', uid, gid, pid: process.pid, groups: [] },
    scopes: new Set(['build']),
    allow: new Set(),
  };
}

/** The owner of this process's own builds in the history. */
export function ownOwner(): string {
  return identityKey(ownAuthority().identity);
}
