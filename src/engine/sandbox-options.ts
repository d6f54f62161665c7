/** How much steps are kept apart from this machine, as an operator wants it. */
import { type DrydockError, fail } from '../errors/index.ts';
import { type Remap, rangesOf } from '../executor/index.ts';
import { inUserNamespace } from '../linux/index.ts';
import { parseBool } from '../words/index.ts';

export interface SandboxOptions {
  /**
   * Leaves steps among this machine's processes, and shows them its /proc: for containers without the right to mount one.
   * Only for a process in a user namespace.
   */
  noProcessSandbox?: boolean;
  /**
   * The user whose ranges in /etc/subuid and /etc/subgid steps have: they run in a user namespace of their own. For root
   * alone; a rootless process is in a namespace already.
   */
  usernsRemap?: string;
}

/** What `DRYDOCK_NO_PROCESS_SANDBOX` says; undefined when it says nothing. Throws `invalid`. */
export function noProcessSandboxFromEnv(env: NodeJS.ProcessEnv): boolean | undefined {
  const { DRYDOCK_NO_PROCESS_SANDBOX: text } = env;
  if (text === undefined || text === '') return undefined;
  const on = parseBool(text);
  if (on !== undefined) return on;
  throw fail('invalid', 'client', `DRYDOCK_NO_PROCESS_SANDBOX=${text}: want true or false`);
}

/** What `DRYDOCK_USERNS_REMAP` says. */
export function usernsRemapFromEnv({ DRYDOCK_USERNS_REMAP: name }: NodeJS.ProcessEnv): string | undefined {
  return name || undefined;
}

/** The ranges of the user that `usernsRemap` names. Throws `invalid` and `not-found`. */
export function remapOf({ usernsRemap: name }: SandboxOptions): Remap | undefined {
  if (name === undefined || name === '') return undefined;
  if (!inUserNamespace() && process.getuid?.() === 0) return rangesOf(name);
  throw fail('invalid', 'client', 'userns-remap is for a Drydock that root runs', {
    hint: 'Leave it out: steps of a rootless Drydock are in a user namespace already.',
  });
}

/** Throws `invalid` for steps of the machine's root that would see its processes. */
export function checkSandbox({ noProcessSandbox }: SandboxOptions): void {
  if (noProcessSandbox !== true || inUserNamespace()) return;
  throw fail('invalid', 'client', "can't enable NoProcessSandbox without Rootless", {
    hint: 'Leave no-process-sandbox out, or run Drydock as a user who is not root (docs/rootless.md).',
  });
}

/** The error for lazy layers and `usernsRemap` together. */
export function noLazyRemap(): DrydockError {
  return fail('invalid', 'client', 'userns-remap does not go with --snapshotter=stargz', {
    hint: 'The owners of lazy layers cannot be mapped: use another snapshotter, or leave userns-remap out.',
  });
}
