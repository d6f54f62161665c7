/** The client's own policy about sources (proto/session/policy.proto). */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import { decodeShort } from '../../grpc/index.ts';
import {
  CheckPolicyRequestSchema,
  type CheckPolicyResponse,
  CheckPolicyResponseSchema,
} from '../../pb/session/policy_pb.js';
import { notServed, type Peer } from '../peer.ts';

const method = '/moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier/CheckPolicy';

export type PolicyQuestion = MessageInitShape<typeof CheckPolicyRequestSchema>;

/**
 * How long a client may think about one source, in ms. A policy is a few rules, and it asks Drydock for what it wants
 * to know.
 */
const policyPatience = 60_000;

/**
 * Asks the client about a source. Throws `unsupported` (hop `session`) when the client has no policy, `unavailable`
 * when it has not answered after `patience` ms, and the client's own failure.
 */
export async function checkPolicy(
  peer: Peer,
  question: PolicyQuestion,
  patience = policyPatience,
): Promise<CheckPolicyResponse> {
  const what = `its policy on ${question.Source?.Source?.identifier ?? 'a source'}`;
  const late = AbortSignal.timeout(patience);
  let answer: Uint8Array | typeof notServed;
  try {
    const request = toBinary(CheckPolicyRequestSchema, create(CheckPolicyRequestSchema, question));
    answer = await peer.unary(what, method, request, { signal: late });
  } catch (err) {
    if (late.aborted) throw silent(what, patience);
    throw peer.explain(what, err);
  }
  if (answer !== notServed) return decodeShort(CheckPolicyResponseSchema, answer);
  throw fail('unsupported', 'session', `asking the client for ${what}: it does not offer this`);
}

function silent(what: string, patience: number) {
  const seconds = Math.round(patience / 1000);
  return fail('unavailable', 'session', `asking the client for ${what}: no answer after ${seconds} s`, {
    hint: 'The client’s own policy decides on sources, and something in it hangs or has failed: see the client’s output.',
  });
}
