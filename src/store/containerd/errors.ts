/** Translates containerd's errors into ours. */
import { Code, ConnectError } from '@connectrpc/connect';
import { DrydockError, errnoCode, fail } from '../../errors/index.ts';
import { errorCodeOf } from '../../grpc/index.ts';

/** How far a call got that containerd did not answer. */
type Break =
  /** The call was never sent: no connection could be made. Sending it again is always safe. */
  | 'unsent'
  /** The connection broke off: containerd may have done the call, or not. */
  | 'broken';

/** Tells a broken connection from an error; undefined when containerd has answered. */
export function breakOf(err: unknown): Break | undefined {
  if (!(err instanceof ConnectError)) return undefined;
  for (let at: unknown = err; at instanceof Error; at = at.cause) {
    if ('syscall' in at && at.syscall === 'connect') return 'unsent';
  }
  // An error of containerd's own has a status; an error without one is the transport's.
  if (err.metadata.get('grpc-status') === null) return 'broken';
  // A server that is going down ends its calls with these codes. (A locked ingest is `unavailable` too.)
  if (err.code === Code.Canceled) return 'broken';
  return err.code === Code.Unavailable && !isLocked(err) ? 'broken' : undefined;
}

/** Whether the error says that another writer has the ingest. */
export function isLocked(err: unknown): boolean {
  return err instanceof ConnectError && err.code === Code.Unavailable && /\blocked\b/.test(err.rawMessage);
}

export function hasCode(err: unknown, code: Code): boolean {
  return err instanceof ConnectError && err.code === code && breakOf(err) === undefined;
}

/**
 * Turns any error of a call into a DrydockError of hop `store`. `what` tells what was being done: `committing the
 * snapshot "a"`.
 */
export function storeError(err: unknown, what: string, address: string): DrydockError {
  if (err instanceof DrydockError) return err;
  if (breakOf(err) !== undefined) return unavailable(err, what, address);
  const message = err instanceof ConnectError ? err.rawMessage : String(err);
  if (/no space left on device|disk quota exceeded/i.test(message)) {
    return fail('exhausted', 'store', `${what}: no space left on containerd's disk`, {
      hint: 'Free disk space, for example with `drydock prune` or `ctr content prune references`.',
      cause: err,
    });
  }
  // An error without a status code is a fault of containerd's or of ours.
  const known = err instanceof ConnectError && err.code !== Code.Unknown;
  const code = known ? errorCodeOf(err.code) : 'internal';
  return fail(code, 'store', `${what}: containerd says: ${message}`, { cause: err });
}

function unavailable(err: unknown, what: string, address: string): DrydockError {
  let errno: string | undefined;
  for (let at: unknown = err; at instanceof Error; at = at.cause) errno = errnoCode(at) ?? errno;
  const reached = breakOf(err) === 'broken';
  const why = reached ? 'broke off the connection' : `cannot be reached (${errno ?? 'unknown'})`;
  return fail('unavailable', 'store', `${what}: containerd at ${address} ${why}`, {
    hint: hintFor(errno, reached),
    details: { address },
    cause: err,
  });
}

function hintFor(errno: string | undefined, reached: boolean): string {
  if (errno === 'EACCES' || errno === 'EPERM') {
    return 'This user may not open the socket: run as root, or as a member of the group that owns it.';
  }
  if (reached) return 'It may be restarting: see `systemctl status containerd`, then try again.';
  if (errno === 'ENOENT') {
    return 'Is containerd running (`systemctl start containerd`)? If its socket is elsewhere, say where with --containerd-address.';
  }
  return 'Is containerd running? See `systemctl status containerd`, and start it with `systemctl start containerd`.';
}
