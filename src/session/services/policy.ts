/** The client's judge of sources (proto/session/policy.proto). */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { fail } from '../../errors/error.ts';
import {
  CheckPolicyRequestSchema,
  type CheckPolicyResponse,
  CheckPolicyResponseSchema,
} from '../../pb/session/policy_pb.js';
import { notServed, type Peer } from '../peer.ts';

const method = '/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy';

export type PolicyQuestion = MessageInitShape<typeof CheckPolicyRequestSchema>;

/** What the client says of a source. Throws `unsupported` (hop `session`) when it judges none, and what it fails with. */
export async function checkPolicy(peer: Peer, question: PolicyQuestion): Promise<CheckPolicyResponse> {
  const what = `its policy on ${question.Source?.Source?.identifier ?? 'a source'}`;
  let answer: Uint8Array | typeof notServed;
  try {
    const request = toBinary(CheckPolicyRequestSchema, create(CheckPolicyRequestSchema, question));
    answer = await peer.unary(what, method, request);
  } catch (err) {
    throw peer.explain(what, err);
  }
  if (answer !== notServed) return fromBinary(CheckPolicyResponseSchema, answer);
  throw fail('unsupported', 'session', `asking the client for ${what}: it does not offer this`);
}
