/** SOURCE_DATE_EPOCH: a number of seconds, or the name of a thing whose own time it is. */
import { fail } from '../../../errors/index.ts';
import { marshal } from '../../../llb/index.ts';
import type { Platform } from '../../../oci/index.ts';
import { epochSeconds } from '../../../words/index.ts';
import type { DockerfileRequest, FrontendHost } from '../../types.ts';
import type { Dockerfile, Stage } from '../ast.ts';
import { expandWord } from '../expand/expand.ts';
import { own } from './args.ts';
import { type BuildContext, isArchive, unpackedFile } from './context.ts';
import { located } from './located.ts';
import { findNamedContext } from './named-contexts.ts';
import { type RemoteSource, remoteSource } from './remote-source.ts';

const name = 'SOURCE_DATE_EPOCH';

interface Input {
  request: DockerfileRequest;
  host: FrontendHost;
  file: Dockerfile;
  context: BuildContext;
  target: Platform;
  globalArgs: ReadonlyMap<string, string>;
}

/** A build's time, and its arguments with that time in the place of the name. */
interface Dated extends Pick<Input, 'request' | 'globalArgs'> {
  /** The time, in seconds since 1970. */
  epoch?: number;
}

/**
 * The time of the request, of its build args or of the Dockerfile's ARGs. It is a number; or `context` or the name of a
 * named context (the time of a git repository's commit, the time that a server tells, or that of the newest file of an
 * archive; a client's folder has none); or the name of a stage that ADDs one such thing to scratch. Throws `invalid`
 * for anything else, and the errors of looking it up.
 */
export async function dateBuild(input: Input): Promise<Dated> {
  const { request, globalArgs } = input;
  if (request.sourceDateEpoch !== undefined) return { request, globalArgs, epoch: request.sourceDateEpoch };
  const text = own(request.buildArgs, name) ?? globalArgs.get(name) ?? '';
  if (text === '') return { request, globalArgs };
  const seconds = epochSeconds(text);
  if (seconds !== undefined) return { request, globalArgs, epoch: seconds };
  const source = await sourceNamed(text, input);
  const epoch = source && (await timeOf(source, input.host));
  const put = ([key, value]: [string, string]): [string, string][] =>
    key !== name ? [[key, value]] : epoch === undefined ? [] : [[key, String(epoch)]];
  return {
    epoch,
    request: { ...request, buildArgs: Object.fromEntries(Object.entries(request.buildArgs).flatMap(put)) },
    globalArgs: new Map([...globalArgs].flatMap(put)),
  };
}

/** The source that the name stands for; undefined for one that has no time. */
async function sourceNamed(text: string, input: Input): Promise<RemoteSource | undefined> {
  const { request, host, file, context, target } = input;
  if (text === 'context') return context.origin;
  const named = findNamedContext(request, host, text, target);
  if (named !== undefined) {
    return named.load(() => undefined);
  }
  const stage = file.stages.find((each) => each.name === text.toLowerCase());
  if (stage === undefined) {
    throw fail('invalid', 'dockerfile', `invalid ${name}: ${text}`, {
      hint: 'It is a number of seconds since 1970-01-01 UTC (`git log -1 --pretty=%ct`), "context", or the name of a named context or stage.',
    });
  }
  try {
    return stageSource(stage, input);
  } catch (err) {
    throw located(err, file, stage.from.range);
  }
}

/** The one thing that a stage ADDs to scratch. */
function stageSource(stage: Stage, { request, file, globalArgs }: Input): RemoteSource {
  const bad = (why: string) => fail('invalid', 'dockerfile', `${name} stage ${why}`);
  const env = new Map(globalArgs);
  env.delete(name);
  const expand = (word: string) =>
    expandWord(word, (each) => env.get(each), { escape: file.directives.escape }).value;
  const once = 'must contain exactly one remote ADD';
  if (expand(stage.base) !== 'scratch') throw bad('must use FROM scratch');
  let found: RemoteSource | undefined;
  for (const instruction of stage.instructions) {
    if (instruction.kind === 'ARG') {
      for (const arg of instruction.args) {
        const value =
          own(request.buildArgs, arg.name) ?? (arg.default === undefined ? undefined : expand(arg.default));
        if (value !== undefined) env.set(arg.name, value);
      }
      continue;
    }
    if (instruction.kind !== 'ADD') {
      throw bad(`does not meet source-only requirements: unsupported ${instruction.kind} instruction`);
    }
    if (found !== undefined) throw bad(once);
    const [src, ...more] = instruction.sources;
    if (typeof src !== 'string' || more.length > 0) throw bad(`${once} source`);
    const { checksum, keepGitDir } = instruction.flags;
    const flags = { keepGitDir, checksum: checksum === undefined ? undefined : expand(checksum) };
    found = remoteSource(expand(src), flags, {
      name: `[internal] resolve ${name} source stage ${stage.name}`,
    });
    if (found === undefined) throw bad('source must be a single HTTP(S) or Git ADD');
  }
  if (found === undefined) throw bad(once);
  return found;
}

/** The time of a source as the host knows it, or else that of the newest file of an archive. */
async function timeOf({ state, file }: RemoteSource, host: FrontendHost): Promise<number | undefined> {
  const definition = marshal(state);
  const known = await host.sourceTime(definition);
  if (known !== 'files') return known;
  const tree = await host.open(definition);
  if (file === undefined) return tree.newest();
  if (!(await isArchive(tree, file))) return undefined;
  return (await host.open(marshal(unpackedFile(state, file)))).newest();
}
