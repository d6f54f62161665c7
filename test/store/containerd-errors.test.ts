/** What a call to containerd failed with: told apart into what containerd said and a connection that broke off. */
import { Code, ConnectError } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { fail } from '../../src/errors/error.ts';
import { ConnectionLost } from '../../src/grpc/call.ts';
import { GrpcError } from '../../src/grpc/status.ts';
import { breakOf, hasCode, storeError } from '../../src/store/containerd/errors.ts';
import { connectError } from '../../src/store/containerd/unary-calls.ts';

const said = (code: Code, message = 'no such thing') => connectError(new GrpcError(code, message));
const told = (err: unknown) => storeError(err, 'reading', '/run/c.sock');

test.each([
  [Code.InvalidArgument, 'invalid'],
  [Code.OutOfRange, 'invalid'],
  [Code.NotFound, 'not-found'],
  [Code.AlreadyExists, 'exists'],
  [Code.FailedPrecondition, 'conflict'],
  [Code.Aborted, 'conflict'],
  [Code.PermissionDenied, 'denied'],
  [Code.ResourceExhausted, 'exhausted'],
  [Code.Unimplemented, 'unsupported'],
  [Code.DataLoss, 'corrupt'],
  [Code.Unknown, 'internal'],
  [Code.Internal, 'internal'],
])('what containerd says with the status %d is %s', (code, kind) => {
  const err = said(code);
  expect([breakOf(err), hasCode(err, code)]).toEqual([undefined, true]);
  expect(told(err)).toMatchObject({
    code: kind,
    hop: 'store',
    message: 'reading: containerd says: no such thing',
  });
});

test('a server that goes down, and a connection that is gone, have not answered', () => {
  const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' });
  for (const err of [
    said(Code.Canceled),
    said(Code.Unavailable),
    connectError(new ConnectionLost('the call was broken off')),
    connectError(new ConnectionLost('read ECONNRESET', { cause: reset })),
  ]) {
    expect(breakOf(err)).toBe('broken');
    expect(told(err)).toMatchObject({
      code: 'unavailable',
      message: 'reading: containerd at /run/c.sock broke off the connection',
    });
  }
  const refused = Object.assign(new Error('connect ENOENT'), { code: 'ENOENT', syscall: 'connect' });
  expect(breakOf(connectError(new ConnectionLost('connect ENOENT', { cause: refused })))).toBe('unsent');
});

test('an ingest that another has is no broken connection', () => {
  expect(breakOf(said(Code.Unavailable, 'ref r locked for 1s: unavailable'))).toBeUndefined();
});

test('bytes that are no message are containerd’s fault, and its own errors stay as they are', () => {
  const err = connectError(fail('invalid', 'session', 'the peer sent a compressed message'));
  expect([err.code, breakOf(err)]).toEqual([Code.Internal, undefined]);
  expect(told(err)).toMatchObject({ code: 'internal', hop: 'store' });
  const own = new ConnectError('x', Code.NotFound);
  expect(connectError(own)).toBe(own);
});
