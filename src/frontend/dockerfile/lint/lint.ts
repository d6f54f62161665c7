/** The checks that need only the syntax tree. */
import type { Base, Dockerfile, Finding, Instruction, Stage } from '../ast.ts';
import { expandWord } from '../expand/expand.ts';
import { exposedPorts } from '../parse/ports.ts';
import { finding } from './rules.ts';

const RESERVED = new Set(['context', 'scratch']);

const SECRET = /(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)/i;
const NOT_SECRET = /(?:_|^)(?:public|file|version)(?:_|$)/i;

interface LintKnowledge {
  /** The stages whose base image sets SHELL; the shell form of their CMD and ENTRYPOINT is intended. */
  shellInBase?: ReadonlySet<Stage>;
  /** The stages that the build needs; instructions of others are not checked one by one. Undefined: all stages. */
  reached?: ReadonlySet<Stage>;
  /** Says that the file is cut short. Only findings that hold whatever follows are then made. */
  partial?: boolean;
}

/** All findings of the parser and of the checks on the tree. `toWarnings` filters them. */
export function lintDockerfile(file: Dockerfile, known: LintKnowledge = {}): Finding[] {
  const { stages } = file;
  const { reached = new Set(stages) } = known;
  return [
    ...file.findings,
    ...stageNames(stages),
    ...(known.partial ? [] : wholeFile(file, known)),
    ...[...file.globalArgs, ...stages.flatMap((stage) => stage.instructions)].flatMap(descriptions),
    ...stages.flatMap((stage) => platform(stage, file.directives.escape)),
    ...stages.flatMap((stage) =>
      stage.instructions.flatMap((each) => [
        ...deprecated(each),
        ...(reached.has(stage) ? single(each) : []),
      ]),
    ),
  ];
}

function wholeFile({ stages }: Dockerfile, known: LintKnowledge): Finding[] {
  const { shellInBase = new Set(), reached = new Set(stages) } = known;
  const read = stages.filter((stage) => reached.has(stage));
  return [...casing(stages), ...read.flatMap(once), ...shellForms(read, shellInBase)];
}

function stageNames(stages: Stage[]): Finding[] {
  const found: Finding[] = [];
  const seen = new Set<string>();
  for (const stage of stages) {
    const { name, nameWritten, asKeyword, from } = stage;
    if (name === '') continue;
    if (nameWritten !== undefined && nameWritten !== name)
      found.push(finding('StageNameCasing', from.range, nameWritten));
    if (asKeyword !== undefined) {
      const wanted = sameCase(from.keyword, asKeyword);
      // a keyword of mixed case is the business of ConsistentInstructionCasing
      if (wanted !== undefined && wanted !== asKeyword)
        found.push(finding('FromAsCasing', from.range, from.keyword, asKeyword));
    }
    if (RESERVED.has(name)) found.push(finding('ReservedStageName', from.range, name));
    if (seen.has(name)) found.push(finding('DuplicateStageName', from.range, name));
    seen.add(name);
    found.push(...describes('FROM', [name], from));
  }
  return found;
}

/** `word` in the case of `model`; undefined when that is of mixed case. */
function sameCase(model: string, word: string): string | undefined {
  if (model === model.toLowerCase()) return word.toLowerCase();
  return model === model.toUpperCase() ? word.toUpperCase() : undefined;
}

function describes(instruction: string, names: string[], base: Base): Finding[] {
  const last = base.comments?.at(-1);
  if (last === undefined || names.includes(last.split(' ', 1)[0]!)) return [];
  const example = names.length > 1 ? '<arg_key>' : names[0]!;
  return [finding('InvalidDefinitionDescription', base.range, instruction, example)];
}

function descriptions(instruction: Instruction): Finding[] {
  if (instruction.kind !== 'ARG') return [];
  return describes(
    'ARG',
    instruction.args.map((arg) => arg.name),
    instruction,
  );
}

function casing(stages: Stage[]): Finding[] {
  const all: Base[] = stages.flatMap((stage) => [stage.from, ...stage.instructions]);
  const isLower = (base: Base) => base.keyword === base.keyword.toLowerCase();
  const isUpper = (base: Base) => base.keyword === base.keyword.toUpperCase();
  const lower = all.filter(isLower).length > all.filter(isUpper).length;
  return all
    .filter((base) => !(lower ? isLower(base) : isUpper(base)))
    .map((base) =>
      finding('ConsistentInstructionCasing', base.range, base.keyword, lower ? 'lowercase' : 'uppercase'),
    );
}

function platform(stage: Stage, esc: '\\' | '`'): Finding[] {
  const written = stage.platform;
  if (written === undefined || written === '') return [];
  const mark = 'the target platform';
  let expanded: ReturnType<typeof expandWord>;
  try {
    expanded = expandWord(written, (name) => (name === 'TARGETPLATFORM' ? mark : undefined), { escape: esc });
  } catch {
    return []; // the conversion fails there, and says so
  }
  const { value, used, unset } = expanded;
  if (used.size === 1 && unset.size === 0 && value === mark)
    return [finding('RedundantTargetPlatform', stage.from.range, written)];
  if (used.size > 0 || unset.size > 0) return [];
  // a stage named after its platform is meant to be for that one
  if (
    value
      .split('/')
      .slice(0, 2)
      .some((part) => part !== '' && stage.name.includes(part.toLowerCase()))
  )
    return [];
  return [finding('FromPlatformFlagConstDisallowed', stage.from.range, value)];
}

/** Findings about all but the last CMD, ENTRYPOINT and HEALTHCHECK of a stage: they have no effect. */
function once(stage: Stage): Finding[] {
  return (['CMD', 'ENTRYPOINT', 'HEALTHCHECK'] as const).flatMap((kind) =>
    stage.instructions
      .filter((instruction) => instruction.kind === kind)
      .slice(0, -1)
      .map((instruction) => finding('MultipleInstructionsDisallowed', instruction.range, kind)),
  );
}

function shellForms(stages: Stage[], shellInBase: ReadonlySet<Stage>): Finding[] {
  const found: Finding[] = [];
  const shellByName = new Map<string, boolean>();
  for (const stage of stages) {
    let shell = shellInBase.has(stage) || (shellByName.get(stage.base.toLowerCase()) ?? false);
    for (const instruction of stage.instructions) {
      if (instruction.kind === 'SHELL') shell = true;
      if (instruction.kind !== 'CMD' && instruction.kind !== 'ENTRYPOINT') continue;
      if (!shell && !instruction.command.exec)
        found.push(finding('JSONArgsRecommended', instruction.range, instruction.kind));
    }
    if (stage.name !== '') shellByName.set(stage.name, shell);
  }
  return found;
}

function isSecret(name: string): boolean {
  return SECRET.test(name) && !NOT_SECRET.test(name);
}

function deprecated({ kind, range }: Instruction): Finding[] {
  return kind === 'MAINTAINER' ? [finding('MaintainerDeprecated', range)] : [];
}

/** The findings about one instruction on its own. */
function single(instruction: Instruction): Finding[] {
  const { kind, range } = instruction;
  switch (kind) {
    case 'ARG':
      return instruction.args
        .filter((arg) => isSecret(arg.name))
        .map((arg) => finding('SecretsUsedInArgOrEnv', range, kind, arg.name));
    case 'ENV':
    case 'LABEL':
      return instruction.pairs.flatMap((pair) => {
        const found: Finding[] = [];
        if (pair.legacy) found.push(finding('LegacyKeyValueFormat', range, kind));
        if (kind === 'ENV' && isSecret(pair.key))
          found.push(finding('SecretsUsedInArgOrEnv', range, kind, pair.key));
        return found;
      });
    case 'EXPOSE':
      try {
        // ports in variables are the converter's
        return exposedPorts(
          instruction.values.filter((value) => !/["'$\\`]/.test(value)),
          range,
          false,
        ).findings;
      } catch {
        return [];
      }
    default:
      return [];
  }
}
