import {
  type BuildOptions,
  type BuildRequest,
  type Built,
  dockerfileOptions,
  type OutputSpec,
} from '../../../engine/index.ts';
import { normalizeName } from '../../../oci/index.ts';
import { both, type ProgressSink } from '../../../progress/index.ts';
import { buildIdOf } from '../../shared/build-id.ts';
import { BuildLog } from '../../shared/build-log.ts';
import type { ApiHost } from '../../shared/host.ts';

/** What a request says of a build that is kept. */
export type Kept = Pick<BuildRequest, 'recorded' | 'knownAs'>;

/**
 * Runs a build that can be followed by Status meanwhile, and that the history has afterwards. A client that is told by a
 * log shares it with them. `called` hears the build's reference.
 */
export async function recorded(
  { record }: Pick<ApiHost, 'record'>,
  owner: string,
  asked: BuildOptions,
  sink: ProgressSink,
  run: (sink: ProgressSink, kept: Kept) => Promise<Built>,
  called: (ref: string) => void = () => {},
): Promise<Built> {
  if (record === undefined) return run(sink, {});
  const options = await dockerfileOptions(asked);
  const log = sink instanceof BuildLog ? sink : undefined;
  const recording = record({ owner, options, outputs: namedOutputs(asked), log });
  called(recording.ref);
  const kept = { recorded: true, knownAs: buildIdOf(owner, recording.ref) };
  try {
    const result = await run(log ?? both(sink, recording.sink), kept);
    recording.ended(result);
    return result;
  } catch (err) {
    recording.failed(err);
    throw err;
  }
}

type NamedOutput = Pick<OutputSpec, 'type' | 'attrs'>;

/** The outputs with the names that images get. A build that asks for none makes an image. */
function namedOutputs({ outputs, tags }: BuildOptions): NamedOutput[] {
  const name = tags.map(normalizeName).join(',');
  const asked: readonly NamedOutput[] = outputs.length > 0 ? outputs : [{ type: 'image', attrs: {} }];
  return asked.map(({ type, attrs }) => ({
    type,
    attrs: type === 'image' && name !== '' ? { name, ...attrs } : attrs,
  }));
}
