/** Makes a DrydockError of a daemon's failed call. Pure. */
import { Code, ConnectError } from '@connectrpc/connect';
import { DrydockError, type ErrorCode, type SourceLocation } from '../../errors/index.ts';
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

/** The error, with its message, hint, exit code, and the lines of the Dockerfile. */
export function failureOf(endpoint: Endpoint, cause: unknown): DrydockError {
  if (cause instanceof DrydockError) return cause;
  const err = ConnectError.from(cause);
  if (err.cause instanceof Error && 'syscall' in err.cause) return unreachable(endpoint, err.cause);
  const lines = err.rawMessage.split('\n');
  const hint = lines.find((line) => line.startsWith('hint: '))?.slice(6);
  const message = lines.filter((line) => !/^(hint|at hop): /.test(line)).join('\n');
  const error = new DrydockError(message, { code: codes[err.code] ?? 'failed', hint });
  for (const detail of err.details) {
    if ('desc' in detail) continue;
    const value = decodedJson(detail.value);
    if (detail.type.endsWith('gatewayapi.ExitMessage+json')) error.exitCode = Number(value?.Code ?? 0);
    if (detail.type.endsWith('errdefs.Source+json')) error.source = sourceOf(value);
  }
  return error;
}

function decodedJson(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function sourceOf(value: Record<string, unknown> | undefined): SourceLocation | undefined {
  const { info, ranges } = (value ?? {}) as {
    info?: { filename?: string; data?: string };
    ranges?: SourceLocation['ranges'];
  };
  if (info?.filename === undefined || !Array.isArray(ranges)) return undefined;
  return { filename: info.filename, text: Buffer.from(info.data ?? '', 'base64').toString('utf8'), ranges };
}
