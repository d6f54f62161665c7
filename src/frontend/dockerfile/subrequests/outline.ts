import { fail } from '../../../errors/index.ts';
import { bytesOf } from '../../../linux/index.ts';
import { Variables } from '../../../llb/index.ts';
import { hostPlatform } from '../../../oci/index.ts';
import type { DockerfileRequest } from '../../types.ts';
import type { ArgInstruction, Dockerfile, InstructionOf, MountFlag, Stage } from '../ast.ts';
import { globalArgValues, own, platformArgValues } from '../convert/args.ts';
import { expandWord } from '../expand/expand.ts';
import { parseMount } from '../parse/mount.ts';
import { didYouMean } from '../parse/suggest.ts';
import { type JsonLocation, jsonLocation } from './location.ts';
import { table } from './table.ts';

interface Arg {
  name: string;
  description?: string;
  value?: string;
  location: JsonLocation;
}

interface Mounted {
  name: string;
  required?: boolean;
  location: JsonLocation;
}

/**
 * The values that the target can be given: build args, secrets and ssh agents of the target and of the stages that it
 * needs. Bases are not looked up. Yields now and then. Throws `not-found` for an unknown target.
 */
export function* outlineAnswer(
  file: Dockerfile,
  request: DockerfileRequest,
): Generator<void, Record<string, string>> {
  const target = targetOf(file, request.target);
  const stages = yield* neededBy(file, target);
  const known: Known = new Map();
  const args = yield* argsOf(file, stages, request, target.name, known);
  const expand = (instruction: InstructionOf<'RUN'>) => (word: string) =>
    expandWord(word, (name) => known.get(instruction)?.get(name), { escape: file.directives.escape }).value;
  const secrets = yield* mountsOf(stages, 'secret', expand);
  const ssh = yield* mountsOf(stages, 'ssh', expand);
  const outline = {
    name: target.name || undefined,
    description: target.description || undefined,
    args,
    secrets,
    ssh,
    sources: [bytesOf(file.text).toString('base64')],
  };
  yield;
  const json = JSON.stringify(
    outline,
    (_, value: unknown) => (Array.isArray(value) && value.length === 0 ? undefined : value),
    2,
  );
  yield;
  return {
    'result.json': json,
    'result.txt': textOf(target, args, secrets, ssh),
  };
}

function targetOf(file: Dockerfile, wanted: string | undefined): Stage {
  const { stages } = file;
  const name = wanted?.toLowerCase() ?? '';
  const found =
    name === ''
      ? stages.at(-1)
      : (stages.findLast((stage) => stage.name === name) ??
        (/^\d+$/.test(name) ? stages[Number(name)] : undefined));
  if (found !== undefined) return found;
  const names = stages.map((stage) => stage.name).filter((each) => each !== '');
  throw fail(
    'not-found',
    'dockerfile',
    `target stage ${JSON.stringify(wanted)} could not be found${didYouMean(wanted ?? '', names, false)}`,
  );
}

/** The stage, and all stages that it is built on or copies from, in the order of the file. */
function* neededBy(file: Dockerfile, target: Stage): Generator<void, Stage[]> {
  const { stages } = file;
  const found = new Set([target]);
  const byName = (name: string | undefined, user: Stage): Stage | undefined => {
    if (name === undefined) return undefined;
    if (/^\d+$/.test(name)) return stages[Number(name)];
    return stageBefore(name, user);
  };
  const stageBefore = named(stages);
  for (const stage of found) {
    yield;
    const names = stage.instructions.flatMap((instruction) => {
      if (instruction.kind === 'COPY') return [instruction.flags.from];
      return instruction.kind === 'RUN' ? instruction.mounts.map(({ from }) => from) : [];
    });
    for (const name of [stage.base, ...names]) {
      const other = byName(name, stage);
      if (other !== undefined) found.add(other);
    }
  }
  return stages.filter((stage) => found.has(stage));
}

/** A function that finds the last stage of a name before another stage. */
function named(stages: readonly Stage[]): (name: string, user: Stage) => Stage | undefined {
  const place = new Map(stages.map((stage, i) => [stage, i]));
  const byName = Map.groupBy(stages, ({ name }) => name);
  return (name, user) => {
    const at = place.get(user) ?? 0;
    const all = name === '' ? [] : (byName.get(name.toLowerCase()) ?? []);
    return all.findLast((stage) => (place.get(stage) ?? 0) < at);
  };
}

type ArgOf = ArgInstruction['args'][number];
/** The values of the ARGs that a RUN sees. */
type Known = Map<InstructionOf<'RUN'>, Variables>;

function* argsOf(
  file: Dockerfile,
  stages: readonly Stage[],
  request: DockerfileRequest,
  targetName: string,
  known: Known,
): Generator<void, Arg[]> {
  const { buildArgs } = request;
  const host = hostPlatform();
  const builtIn = platformArgValues(host, request.platforms[0] ?? host, targetName, buildArgs);
  const values = globalArgValues(file, builtIn, buildArgs);
  const escapeMark = file.directives.escape;
  const globals = globalsOf(file);
  const used = new Set<string>();
  const use = (name: string): void => {
    const known = globals.get(name);
    if (known === undefined || used.has(name)) return;
    used.add(name);
    for (const read of known.reads) use(read);
  };
  const found = new Map<string, Arg>();
  // An ARG that is given again is what it was given last.
  const add = (arg: ArgOf, value: string | undefined) =>
    found.set(arg.name, {
      name: arg.name,
      description: arg.description || globals.get(arg.name)?.arg.description || undefined,
      value: value || undefined,
      location: jsonLocation([arg.range]),
    });
  // A stage sees the ARGs of the one it is built on.
  const ofStage = new Map<Stage, Variables>();
  const stageBefore = named(stages);
  for (const stage of stages) {
    usedIn(stage.base, escapeMark, use);
    usedIn(stage.platform ?? '', escapeMark, use);
    const base = stageBefore(stage.base, stage);
    let env = (base && ofStage.get(base)) ?? Variables.of();
    for (const instruction of stage.instructions) {
      yield;
      if (instruction.kind === 'RUN') known.set(instruction, env);
      if (instruction.kind !== 'ARG') continue;
      for (const arg of instruction.args) {
        const given = own(buildArgs, arg.name);
        if (given === undefined && arg.default === undefined && values.has(arg.name)) {
          // It brings the global one into the stage, and that is the parameter.
          use(arg.name);
          env = env.set(arg.name, values.get(arg.name) ?? '');
          continue;
        }
        const seen = env;
        const value =
          given ??
          (arg.default === undefined
            ? undefined
            : expandWord(arg.default, (name) => seen.get(name), { escape: escapeMark }).value);
        if (value !== undefined) env = env.set(arg.name, value);
        add(arg, value);
      }
    }
    ofStage.set(stage, env);
  }
  for (const name of used) {
    const known = globals.get(name);
    if (known !== undefined && !found.has(name)) add(known.arg, values.get(name));
  }
  return [...found.values()].sort(byLine);
}

/**
 * The ARGs before the first FROM as they are given last, and the names that they read, in their earlier values, too.
 */
function globalsOf(file: Dockerfile): Map<string, { arg: ArgOf; reads: ReadonlySet<string> }> {
  const globals = new Map<string, { arg: ArgOf; reads: Set<string> }>();
  for (const arg of file.globalArgs.flatMap(({ args }) => args)) {
    const own = new Set<string>();
    usedIn(arg.default ?? '', file.directives.escape, (name) => void own.add(name));
    const before = own.delete(arg.name) ? globals.get(arg.name)?.reads : undefined;
    // What it was before is asked for no more.
    const reads = before ?? own;
    if (before !== undefined) for (const name of own) before.add(name);
    globals.set(arg.name, { arg, reads });
  }
  return globals;
}

/** Calls `tell` for each variable that a word names. */
function usedIn(word: string, mark: '\\' | '`', tell: (name: string) => void): void {
  try {
    expandWord(
      word,
      (name) => {
        tell(name);
        return undefined;
      },
      { escape: mark },
    );
  } catch {
    // `${NAME:?}` without a value: the build says so.
  }
}

function* mountsOf(
  stages: readonly Stage[],
  type: 'secret' | 'ssh',
  expand: (instruction: InstructionOf<'RUN'>) => (word: string) => string,
): Generator<void, Mounted[]> {
  const list = new Map<string, Mounted>();
  for (const { instructions } of stages) {
    for (const instruction of instructions) {
      if (instruction.kind !== 'RUN') continue;
      for (const written of instruction.mounts) {
        yield;
        const mount = expanded(written, expand(instruction));
        if (mount.type !== type) continue;
        const name = mount.id ?? (type === 'ssh' ? 'default' : (mount.target?.split('/').at(-1) ?? ''));
        if (name === '' || list.has(name)) continue;
        list.set(name, {
          name,
          required: mount.required || undefined,
          location: jsonLocation([instruction.range]),
        });
      }
    }
  }
  return [...list.values()].sort(byLine);
}

/**
 * A mount with the values of its variables; the mount as written when the values do not fit, of which the build itself
 * will tell.
 */
function expanded(mount: MountFlag, expand: (word: string) => string): MountFlag {
  try {
    return parseMount(mount.raw, expand);
  } catch {
    return mount;
  }
}

function byLine(a: { location: JsonLocation }, b: { location: JsonLocation }): number {
  const line = ({ ranges }: JsonLocation) => ranges[0]?.start.line ?? 0;
  return line(a.location) - line(b.location);
}

function textOf(target: Stage, args: Arg[], secrets: Mounted[], ssh: Mounted[]): string {
  const parts: string[] = [];
  if (target.name !== '' || target.description) {
    const rows = [['TARGET:', target.name || '(default)']];
    if (target.description) rows.push(['DESCRIPTION:', target.description]);
    parts.push(table(rows, 1));
  }
  if (args.length > 0) {
    const rows = args.map(({ name, value = '', description = '' }) => [name, value, description]);
    parts.push(table([['BUILD ARG', 'VALUE', 'DESCRIPTION'], ...rows], 3));
  }
  const mounted = (title: string, list: Mounted[]) => {
    if (list.length === 0) return;
    const rows = list.map(({ name, required }) => [name, required ? 'true' : '']);
    parts.push(table([[title, 'REQUIRED'], ...rows], 3));
  };
  mounted('SECRET', secrets);
  mounted('SSH', ssh);
  return parts.map((part) => `${part}\n`).join('');
}
