/** The client's ssh agents (proto/session/ssh.proto). */
import type { Duplex } from 'node:stream';
import { create, toBinary } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import { BytesStream, GrpcError } from '../../grpc/index.ts';
import { CheckAgentRequestSchema } from '../../pb/session/ssh_pb.js';
import { notServed, type Peer } from '../peer.ts';

const service = '/moby.sshforward.v1.SSH';

/**
 * A function that dials the client's agent of this ID; undefined when the client forwards no agents. Throws
 * `not-found`, in the client's own words, when it forwards agents but not this one.
 */
export async function sshAgent(peer: Peer, id: string): Promise<(() => Promise<Duplex>) | undefined> {
  const agent = id || 'default';
  const what = `its ssh agent ${agent}`;
  try {
    const request = toBinary(CheckAgentRequestSchema, create(CheckAgentRequestSchema, { ID: agent }));
    if ((await peer.unary(what, `${service}/CheckAgent`, request)) === notServed) return undefined;
  } catch (err) {
    // Clients say with any status that they have no such agent.
    if (err instanceof GrpcError) throw fail('not-found', 'session', err.message, { cause: err });
    throw err;
  }
  return async () => {
    const call = await peer.open(what, `${service}/ForwardAgent`, {
      metadata: { 'buildkit.ssh.id': agent },
    });
    if (call === notServed) throw peer.explain(what, new Error('it forwards no agent'));
    return new BytesStream(call, { explain: (err) => peer.explain(what, err) });
  };
}
