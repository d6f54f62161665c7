/** Makes stage states of the Dockerfile's stages; they know their bases and the stages that they read from. */
import { fail, toDrydockError } from '../../../errors/index.ts';
import { type Platform, parsePlatform, parseReference } from '../../../oci/index.ts';
import type { Base, Instruction, Stage } from '../ast.ts';
import { type Expanded, expandWord } from '../expand/expand.ts';
import { invalidDefaultArgFindings, undefinedArgInFromFindings } from '../lint/findings.ts';
import { didYouMean } from '../parse/suggest.ts';
import type { Conversion } from './conversion.ts';
import { located } from './located.ts';
import { findNamedContext } from './named-contexts.ts';
import { checkCircles, newStage, type StageCommand, type StageState } from './stages.ts';

/** Fills the stage table. Throws `invalid` at the FROM or the instruction at fault. */
export function planStages(conversion: Conversion, builtIn: ReadonlyMap<string, string>): void {
  const { file, stages } = conversion;
  const builtInArgs = Object.fromEntries(builtIn);
  conversion.findings.add(...invalidDefaultArgFindings(file, builtInArgs, isReference));
  const noCache = new Set(conversion.request.noCacheFilter.map((name) => name.toLowerCase()));
  file.stages.forEach((stage, i) => {
    try {
      stages.add(planStage(conversion, stage, i, noCache));
    } catch (err) {
      throw located(err, file, stage.from.range);
    }
  });
  for (const stage of [...stages.list]) {
    const steps = new Set(['RUN', 'COPY', 'ADD', 'WORKDIR']);
    const instructions = stage.namedContext === undefined ? (stage.stage?.instructions ?? []) : [];
    stage.total = instructions.filter(({ kind }) => steps.has(kind)).length;
    if (stage.baseName !== 'scratch' && stage.base === undefined) stage.total++;
    stage.commands = instructions.map((instruction) => planCommand(conversion, stage, instruction, false));
  }
  checkCircles(file, stages.list);
  if (stages.list.length === 1 && stages.list[0] !== undefined) stages.list[0].shownName = '';
}

function planStage(
  conversion: Conversion,
  stage: Stage,
  i: number,
  noCache: ReadonlySet<string>,
): StageState {
  const { request, host } = conversion;
  const base = expandGlobal(conversion, stage.base, stage.from);
  if (base.value === '') {
    throw fail('invalid', 'dockerfile', `base name (${stage.base}) should not be blank`, {
      hint: hintForUnset(conversion, base.unset),
    });
  }
  const state = newStage(base.value, stage.from, conversion.target);
  state.baseHint = hintForUnset(conversion, base.unset);
  state.stage = stage;
  state.name = stage.name.toLowerCase();
  state.shownName = stage.name || `stage-${i}`;
  state.platform =
    stage.platform === undefined ? undefined : stagePlatform(conversion, stage, stage.platform);
  state.ignoreCache = request.noCache || (state.name !== '' && noCache.has(state.name));
  if (state.name !== '') {
    const platform = state.platform ?? conversion.target;
    state.namedContext = findNamedContext(request, host, state.name, platform);
  }
  return state;
}

function expandGlobal(conversion: Conversion, word: string, at: Base): Expanded {
  const { globalArgs, file, declaredArgs } = conversion;
  const expanded = expandWord(word, (name) => globalArgs.get(name), { escape: file.directives.escape });
  conversion.findings.add(...undefinedArgInFromFindings(expanded.unset, declaredArgs, at.range));
  return expanded;
}

function stagePlatform(conversion: Conversion, stage: Stage, word: string): Platform {
  const { value, unset } = expandGlobal(conversion, word, stage.from);
  const near = [...unset].map((name) => didYouMean(name, conversion.globalArgs.keys())).find(Boolean) ?? '';
  const hint = hintForUnset(conversion, unset);
  if (value === '') {
    throw fail('invalid', 'dockerfile', `empty platform value from expression ${word}${near}`, { hint });
  }
  try {
    return parsePlatform(value);
  } catch (err) {
    const { message, hint: form } = toDrydockError(err);
    throw fail('invalid', 'dockerfile', `failed to parse platform ${word}: ${message}${near}`, {
      hint: hint ?? form,
      cause: err,
    });
  }
}

function hintForUnset(conversion: Conversion, unset: ReadonlySet<string>): string | undefined {
  for (const name of unset) {
    const near = didYouMean(name, conversion.globalArgs.keys());
    return `${name} is not set${near}: give it a default with ARG ${name}=… above the first FROM, or --build-arg ${name}=….`;
  }
  return undefined;
}

/** Whether a name could be an image's or a stage's. */
function isReference(name: string): boolean {
  try {
    parseReference(name);
    return true;
  } catch {
    return false;
  }
}

/** Links an instruction to the stages that it reads from. Images that it names become stages of their own. */
export function planCommand(
  conversion: Conversion,
  stage: StageState,
  instruction: Instruction,
  onBuild: boolean,
): StageCommand {
  const command: StageCommand = { instruction, sources: [], onBuild };
  try {
    if (instruction.kind === 'COPY' && instruction.flags.from) {
      const { from } = instruction.flags;
      command.sources = [sourceStage(conversion, from, instruction)];
      if (conversion.request.classic && command.sources[0] === stage) {
        throw fail('invalid', 'dockerfile', `invalid from flag value ${from}: refers to current build stage`);
      }
    } else if (instruction.kind === 'RUN') {
      command.sources = instruction.mounts.map(({ from }) =>
        from ? sourceStage(conversion, from, instruction) : undefined,
      );
    }
  } catch (err) {
    throw located(err, conversion.file, instruction.range);
  }
  for (const source of command.sources) if (source !== undefined) stage.deps.set(source, instruction.range);
  return command;
}

function sourceStage(conversion: Conversion, from: string, at: Base): StageState {
  if (/\$./.test(from)) {
    throw fail(
      'invalid',
      'dockerfile',
      'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround',
      { hint: `Add "FROM ${from} AS <name>" and write --from=<name>.` },
    );
  }
  const { stages } = conversion;
  if (/^\d+$/.test(from)) return stages.byIndex(Number(from));
  const known = stages.byName(from) ?? stages.image(from);
  if (known !== undefined) return known;
  const image = newStage(from, at, conversion.target);
  stages.add(image);
  return image;
}
