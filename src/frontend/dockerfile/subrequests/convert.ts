import { fromBinary, toJson } from '@bufbuild/protobuf';
import { fail } from '../../../errors/index.ts';
import { digestOf } from '../../../oci/index.ts';
import { OpSchema, SourceSchema } from '../../../pb/solver/pb/ops_pb.js';
import type { DockerfileRequest, FrontendHost } from '../../types.ts';
import { dockerfileFrontend } from '../frontend.ts';

/** The LLB of a build for one platform. Throws `invalid` for several. */
export async function convertAnswer(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  if (request.platforms.length > 1) {
    throw fail('invalid', 'frontend', 'a Dockerfile is converted for one platform at a time');
  }
  const { targets } = await dockerfileFrontend(request, host, signal);
  const definition = targets[0]?.definition;
  if (definition === undefined) return {};
  const def = definition.def.map((bytes) => [digestOf(bytes), toJson(OpSchema, fromBinary(OpSchema, bytes))]);
  const metadata = Object.entries(definition.metadata).map(([digest, data]) => [
    digest,
    {
      ignore_cache: data.ignoreCache || undefined,
      description: Object.keys(data.description).length === 0 ? undefined : data.description,
      export_cache: data.exportCache && { Value: data.exportCache.Value },
      caps: data.caps,
      progress_group: data.progressGroup && {
        id: data.progressGroup.id,
        name: data.progressGroup.name,
        weak: data.progressGroup.weak || undefined,
      },
    },
  ]);
  const result = {
    def: Object.fromEntries(def),
    metadata: Object.fromEntries(metadata),
    source: definition.Source === undefined ? {} : toJson(SourceSchema, definition.Source),
  };
  return { 'result.json': JSON.stringify(result, undefined, 2) };
}
