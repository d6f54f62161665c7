import { fail } from '../../errors/index.ts';
import { create, OpSchema, type SourceRewrite } from '../../llb/index.ts';
import { normalizeName } from '../../oci/index.ts';
import type { Platform, SourceOp } from '../../pb/solver/pb/ops_pb.js';
import type { SourceJudge } from './source-judge.ts';

/** The source policy of a build: the rules in its request, then its client's own judgement. */
export interface SourcePolicy {
  rewrite?: SourceRewrite | undefined;
  judge?: SourceJudge | undefined;
}

/** The source that the build may use in the place of the given one. Throws `denied`. */
export async function settled(
  { rewrite, judge }: SourcePolicy,
  source: SourceOp,
  platform?: Platform,
): Promise<SourceOp> {
  const ruled = rewrite === undefined ? source : rewrite(source);
  return judge === undefined ? ruled : judge(ruled, platform);
}

const scheme = 'docker-image://';

/**
 * The image that is looked up when a frontend asks for `ref`: the source policy may put another one in its place.
 * Throws `denied`, and `invalid` when the policy puts a source there that is no image.
 */
export async function imageAfter(policy: SourcePolicy, ref: string, platform?: Platform): Promise<string> {
  if (policy.rewrite === undefined && policy.judge === undefined) return ref;
  const identifier = scheme + normalizeName(ref.startsWith(scheme) ? ref.slice(scheme.length) : ref);
  const after = (await settled(policy, sourceOf(identifier), platform)).identifier;
  if (after.startsWith(scheme)) return after.slice(scheme.length);
  throw fail(
    'invalid',
    'frontend',
    `the source policy turns ${identifier} into ${after}, which has no config`,
    { details: { updated: after } },
  );
}

function sourceOf(identifier: string): SourceOp {
  const { op } = create(OpSchema, { op: { case: 'source', value: { identifier, attrs: {} } } });
  if (op.case !== 'source') throw fail('internal', 'llb', 'a source op is no source op');
  return op.value;
}
