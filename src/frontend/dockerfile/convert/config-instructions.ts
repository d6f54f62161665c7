/** Instructions that only change the image's config. */
import { constants } from 'node:os';
import { fail } from '../../../errors/index.ts';
import type { HealthConfig } from '../../../oci/index.ts';
import type { CommandLine, InstructionOf } from '../ast.ts';
import { parseDuration } from '../parse/healthcheck-duration.ts';
import { type Conversion, expandIn } from './conversion.ts';
import { formatDuration, goList, goQuoteList } from './go-format.ts';
import { commit } from './history.ts';
import { containerOf, withShell } from './image.ts';
import type { StageState } from './stages.ts';

/** Converts ENV and LABEL. All pairs see the environment before the instruction. */
export function convertPairs(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'ENV' | 'LABEL'>,
): void {
  const pairs = instruction.pairs.map(({ key, value }) => ({
    key: expandIn(conversion, stage, key, instruction),
    value: expandIn(conversion, stage, value, instruction),
  }));
  const { grown } = stage;
  if (instruction.kind === 'LABEL') {
    for (const { key, value } of pairs) grown.labels = grown.labels.put(key, value);
  } else {
    for (const { key, value } of pairs) {
      if (key === '') throw fail('invalid', 'dockerfile', 'ENV names can not be blank');
      // A variable that is set again comes last for processes, but keeps its place in the config.
      if (grown.env.has(key)) stage.imageEnvLast = false;
      stage.state = stage.state.env(key, value);
      grown.env = grown.env.put(key, value);
    }
  }
  const shown = pairs.map(({ key, value }) => ` ${key}=${value}`).join('');
  commit(conversion, stage, `${instruction.kind}${shown}`);
}

/** Converts MAINTAINER. */
export function convertMaintainer(
  conversion: Conversion,
  stage: StageState,
  { value }: InstructionOf<'MAINTAINER'>,
): void {
  stage.image.author = value;
  commit(conversion, stage, `MAINTAINER ${value}`);
}

function commandOf(stage: StageState, { args, exec }: CommandLine): string[] {
  return exec ? args : withShell(stage.image, args.join(' '));
}

/** Converts CMD, and ENTRYPOINT, which drops a CMD that came from the base. */
export function convertCommand(
  conversion: Conversion,
  stage: StageState,
  { kind, command }: InstructionOf<'CMD' | 'ENTRYPOINT'>,
): void {
  const args = commandOf(stage, command);
  const config = containerOf(stage.image);
  if (kind === 'CMD') {
    if (conversion.request.classic && args.length === 0) delete config.Cmd;
    else config.Cmd = args;
    config.ArgsEscaped = true;
    stage.cmdSet = true;
  } else {
    config.Entrypoint = args;
    if (!stage.cmdSet) delete config.Cmd;
  }
  commit(conversion, stage, `${kind} ${goQuoteList(args)}`);
}

/** Converts SHELL. */
export function convertShell(
  conversion: Conversion,
  stage: StageState,
  { shell }: InstructionOf<'SHELL'>,
): void {
  containerOf(stage.image).Shell = shell;
  commit(conversion, stage, `SHELL ${goList(shell)}`);
}

/** Converts USER. */
export function convertUser(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'USER'>,
): void {
  const user = expandIn(conversion, stage, instruction.value, instruction);
  stage.state = stage.state.user(user);
  containerOf(stage.image).User = user;
  commit(conversion, stage, `USER ${user}`);
}

/** Converts VOLUME. */
export function convertVolume(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'VOLUME'>,
): void {
  const volumes = instruction.values.map((value) => expandIn(conversion, stage, value, instruction));
  if (volumes.includes(''))
    throw fail('invalid', 'dockerfile', 'VOLUME specified can not be an empty string');
  for (const volume of volumes) stage.grown.volumes = stage.grown.volumes.put(volume, '');
  commit(conversion, stage, `VOLUME ${goList(volumes)}`);
}

/** Converts STOPSIGNAL. */
export function convertStopSignal(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'STOPSIGNAL'>,
): void {
  const signal = expandIn(conversion, stage, instruction.value, instruction);
  if (!isSignal(signal)) {
    throw fail('invalid', 'dockerfile', `invalid signal: ${signal}`, {
      hint: 'STOPSIGNAL takes a name such as SIGTERM, or a number.',
    });
  }
  containerOf(stage.image).StopSignal = signal;
  commit(conversion, stage, `STOPSIGNAL ${signal}`);
}

function isSignal(text: string): boolean {
  if (/^\d+$/.test(text)) return Number(text) > 0 && Number(text) <= 64;
  const name = text.toUpperCase().replace(/^SIG/, '');
  return (
    Object.hasOwn(constants.signals, `SIG${name}`) ||
    /^RTM(IN(\+([0-9]|1[0-5]))?|AX(-([0-9]|1[0-4]))?)$/.test(name)
  );
}

/** Converts HEALTHCHECK. */
export function convertHealthcheck(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'HEALTHCHECK'>,
): void {
  const { command } = instruction;
  const ns = (text: string | undefined) => (text === undefined ? 0 : parseDuration(text));
  const durations = {
    Interval: ns(instruction.interval),
    Timeout: ns(instruction.timeout),
    StartPeriod: ns(instruction.startPeriod),
    StartInterval: ns(instruction.startInterval),
  };
  const retries = Number(instruction.retries ?? 0);
  const test = command === undefined ? ['NONE'] : [command.exec ? 'CMD' : 'CMD-SHELL', ...command.args];
  const health: HealthConfig = { Test: test };
  for (const [key, value] of Object.entries(durations)) {
    if (value !== 0) health[key as keyof typeof durations] = value;
  }
  if (retries !== 0) health.Retries = retries;
  containerOf(stage.image).Healthcheck = health;
  const shown = Object.entries(durations).map(([key, value]) => `${key}:${formatDuration(value)}`);
  commit(conversion, stage, `HEALTHCHECK {Test:${goList(test)} ${shown.join(' ')} Retries:${retries}}`);
}

/** Converts ONBUILD: the trigger is kept in the config for builds on top of the image. */
export function convertOnbuild(stage: StageState, { expression }: InstructionOf<'ONBUILD'>): void {
  const config = containerOf(stage.image);
  // The list is the stage's own: a base's triggers are taken out of its config when they are used.
  config.OnBuild ??= [];
  config.OnBuild.push(expression);
}
