/** Makes a DrydockError of a daemon's failed call. Pure. */
import { Code, ConnectError } from '@connectrpc/connect';
import { readErrorDetails, readMessage } from '../../api/index.ts';
import { DrydockError, type ErrorCode } from '../../errors/index.ts';
import { type Endpoint, unreachable } from './endpoint.ts';

const codes: Partial<Record<Code, ErrorCode>> = {
  [Code.Canceled]: 'canceled',
  [Code.InvalidArgument]: 'invalid',
  [Code.NotFound]: 'not-found',
  [Code.AlreadyExists]: 'exists',
  [Code.PermissionDenied]: 'denied',
  [Code.Unauthenticated]: 'unauthenticated',
  [Code.Unimplemented]: 'unsupported',
  [Code.Unavailable]: 'unavailable',
  [Code.ResourceExhausted]: 'exhausted',
};

/** The error of a call to a daemon, which may not be there. */
export function failureOf(endpoint: Endpoint, cause: unknown): DrydockError {
  if (cause instanceof DrydockError) return cause;
  const err = ConnectError.from(cause);
  if (err.cause instanceof Error && 'syscall' in err.cause) return unreachable(endpoint, err.cause);
  // A call that was cut off with its connection looks cancelled, and nobody has cancelled it.
  if (err.code === Code.Canceled && err.rawMessage.startsWith('http/2 ')) {
    const message = `the connection with the daemon at ${endpoint.name} broke off`;
    return new DrydockError(message, { code: 'unavailable', hop: 'client', cause: err });
  }
  return callFailure(err);
}

/** The error of a call, with its message, hint, exit code, step, and the lines of the Dockerfile. */
export function callFailure(cause: unknown): DrydockError {
  if (cause instanceof DrydockError) return cause;
  const err = ConnectError.from(cause);
  const { message, hint } = readMessage(err.rawMessage);
  const error = new DrydockError(message, { code: codes[err.code] ?? 'failed', hint });
  const details = err.details.flatMap((each) => ('desc' in each ? [] : [each]));
  const { vertex, ...rest } = readErrorDetails(details);
  return Object.assign(error, rest, vertex === undefined ? {} : { vertex });
}
