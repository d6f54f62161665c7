import { fail } from '../../errors/error.ts';
import { create, OpSchema } from '../../llb/pb.ts';
import type { SourceRewrite } from '../../llb/source-policy.ts';
import { normalizeName } from '../../oci/reference.ts';
import type { SourceOp } from '../../pb/solver/pb/ops_pb.js';

const scheme = 'docker-image://';

/**
 * The image that is looked up when a frontend asks for one: the source policy may put another in its place. Throws
 * `denied`, and `invalid` when what it puts there is no image.
 */
export function imageAfter(rewrite: SourceRewrite | undefined, ref: string): string {
  if (rewrite === undefined) return ref;
  const identifier = scheme + normalizeName(ref.startsWith(scheme) ? ref.slice(scheme.length) : ref);
  const after = rewrite(sourceOf(identifier)).identifier;
  if (after.startsWith(scheme)) return after.slice(scheme.length);
  throw fail(
    'invalid',
    'frontend',
    `the source policy turns ${identifier} into ${after}, which has no config`,
  );
}

function sourceOf(identifier: string): SourceOp {
  const { op } = create(OpSchema, { op: { case: 'source', value: { identifier, attrs: {} } } });
  if (op.case !== 'source') throw fail('internal', 'llb', 'a source op is no source op');
  return op.value;
}
