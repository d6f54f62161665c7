/** Runs a build that is remembered, whichever way it came by. */
import {
  type BuildOptions,
  type BuildRequest,
  type Built,
  dockerfileOptions,
  type OutputSpec,
} from '../engine/index.ts';
import { normalizeName } from '../oci/index.ts';
import { both, type ProgressSink } from '../progress/index.ts';
import { buildIdOf } from './build-id.ts';
import type { AskedBuild, RecordBuild } from './recording.ts';

/** The fields of a build's request that come of its being remembered. */
export type Kept = Pick<BuildRequest, 'recorded' | 'knownAs'>;

interface RecordedRun {
  /** Begins the record; undefined: the build is not remembered. */
  record: RecordBuild | undefined;
  /** The one who started it (`identityKey`). */
  owner: string;
  asked: Omit<AskedBuild, 'owner'>;
  sink: ProgressSink;
  run(sink: ProgressSink, kept: Kept): Promise<Built>;
  /** Hears the build's reference before it begins. */
  called?(ref: string): void;
}

/** Runs a build that can be followed by Status meanwhile where a daemon has it, and that the history has afterwards. */
export async function recorded(build: RecordedRun): Promise<Built> {
  const { record, owner, asked, sink, run, called } = build;
  if (record === undefined) return run(sink, {});
  const recording = record({ owner, ...asked });
  called?.(recording.ref);
  const kept = { recorded: true, knownAs: buildIdOf(owner, recording.ref) };
  try {
    const result = await run(recording.sink === sink ? sink : both(sink, recording.sink), kept);
    await recording.ended(result);
    return result;
  } catch (err) {
    await recording.failed(err);
    throw err;
  }
}

/** What the record of a build of a Dockerfile tells of it. */
export function askedDockerfile(options: BuildOptions): Omit<AskedBuild, 'owner'> {
  return { frontend: 'dockerfile.v0', options: dockerfileOptions(options), outputs: namedOutputs(options) };
}

/** What the record of a build of a definition tells of it. */
export function askedDefinition(of: Pick<BuildOptions, 'outputs' | 'tags'>): Omit<AskedBuild, 'owner'> {
  return { frontend: '', options: {}, outputs: namedOutputs(of) };
}

type NamedOutput = Pick<OutputSpec, 'type' | 'attrs'>;

/** The outputs with the names that images get. A build that asks for none makes an image. */
function namedOutputs({ outputs, tags }: Pick<BuildOptions, 'outputs' | 'tags'>): NamedOutput[] {
  const name = tags.map(normalizeName).join(',');
  const asked: readonly NamedOutput[] = outputs.length > 0 ? outputs : [{ type: 'image', attrs: {} }];
  return asked.map(({ type, attrs }) => ({
    type,
    attrs: type === 'image' && name !== '' ? { name, ...attrs } : attrs,
  }));
}
