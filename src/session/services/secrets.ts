/** The client's secrets (proto/session/secrets.proto). */
import { create, toBinary } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import { decodeShort, GrpcError, NOT_FOUND } from '../../grpc/index.ts';
import { GetSecretRequestSchema, GetSecretResponseSchema } from '../../pb/session/secrets_pb.js';
import { notServed, type Peer } from '../peer.ts';
import { maxSecretSize } from '../secret-size.ts';

/**
 * The value of a secret; undefined when the client has none of this ID. Throws `invalid` when it is larger than 500
 * KiB.
 */
export async function getSecret(peer: Peer, id: string): Promise<Buffer | undefined> {
  const what = `secret ${id}`;
  let answer: Uint8Array | typeof notServed;
  try {
    const request = toBinary(GetSecretRequestSchema, create(GetSecretRequestSchema, { ID: id }));
    answer = await peer.unary(what, '/moby.buildkit.secrets.v1.Secrets/GetSecret', request);
  } catch (err) {
    if (err instanceof GrpcError && err.code === NOT_FOUND) return undefined;
    throw peer.explain(what, err);
  }
  if (answer === notServed) return undefined;
  const { data } = decodeShort(GetSecretResponseSchema, answer);
  if (data.length > maxSecretSize) {
    throw fail('invalid', 'session', `secret ${id} is ${data.length} bytes, more than ${maxSecretSize}`);
  }
  return Buffer.from(data);
}
