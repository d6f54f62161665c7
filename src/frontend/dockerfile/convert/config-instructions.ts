/** Instructions that only change the image's config. */
import { constants } from 'node:os';
import { fail } from '../../../errors/error.ts';
import type { HealthConfig } from '../../../oci/types.ts';
import type { CommandLine, InstructionOf } from '../ast.ts';
import { parseDuration } from '../parse/duration.ts';
import { type Conversion, expandIn } from './conversion.ts';
import { formatDuration, goList, goQuoteList } from './go-format.ts';
import { commit } from './history.ts';
import { containerOf, setImageEnv, withShell } from './image.ts';
import type { StageState } from './stages.ts';

/** ENV and LABEL: all pairs see the environment before the instruction. */
export function convertPairs(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'ENV' | 'LABEL'>,
): void {
  const pairs = instruction.pairs.map(({ key, value }) => ({
    key: expandIn(conversion, stage, key, instruction),
    value: expandIn(conversion, stage, value, instruction),
  }));
  const config = containerOf(stage.image);
  if (instruction.kind === 'LABEL') {
    config.Labels = { ...config.Labels, ...Object.fromEntries(pairs.map(({ key, value }) => [key, value])) };
  } else {
    for (const { key, value } of pairs) {
      if (key === '') throw fail('invalid', 'dockerfile', 'ENV names can not be blank');
      stage.state = stage.state.env(key, value);
      setImageEnv(stage.image, key, value);
    }
  }
  const shown = pairs.map(({ key, value }) => ` ${key}=${value}`).join('');
  commit(stage.image, `${instruction.kind}${shown}`, { epoch: conversion.epoch });
}

export function convertMaintainer(
  conversion: Conversion,
  stage: StageState,
  { value }: InstructionOf<'MAINTAINER'>,
): void {
  stage.image.author = value;
  commit(stage.image, `MAINTAINER ${value}`, { epoch: conversion.epoch });
}

function commandOf(stage: StageState, { args, exec }: CommandLine): string[] {
  return exec ? args : withShell(stage.image, args.join(' '));
}

/** CMD, and ENTRYPOINT, which drops a CMD that came from the base. */
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
  commit(stage.image, `${kind} ${goQuoteList(args)}`, { epoch: conversion.epoch });
}

export function convertShell(
  conversion: Conversion,
  stage: StageState,
  { shell }: InstructionOf<'SHELL'>,
): void {
  containerOf(stage.image).Shell = shell;
  commit(stage.image, `SHELL ${goList(shell)}`, { epoch: conversion.epoch });
}

export function convertUser(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'USER'>,
): void {
  const user = expandIn(conversion, stage, instruction.value, instruction);
  stage.state = stage.state.user(user);
  containerOf(stage.image).User = user;
  commit(stage.image, `USER ${user}`, { epoch: conversion.epoch });
}

export function convertVolume(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'VOLUME'>,
): void {
  const volumes = instruction.values.map((value) => expandIn(conversion, stage, value, instruction));
  if (volumes.includes(''))
    throw fail('invalid', 'dockerfile', 'VOLUME specified can not be an empty string');
  const config = containerOf(stage.image);
  config.Volumes = { ...config.Volumes, ...Object.fromEntries(volumes.map((volume) => [volume, {}])) };
  commit(stage.image, `VOLUME ${goList(volumes)}`, { epoch: conversion.epoch });
}

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
  commit(stage.image, `STOPSIGNAL ${signal}`, { epoch: conversion.epoch });
}

function isSignal(text: string): boolean {
  if (/^\d+$/.test(text)) return Number(text) > 0 && Number(text) <= 64;
  const name = text.toUpperCase().replace(/^SIG/, '');
  return (
    Object.hasOwn(constants.signals, `SIG${name}`) ||
    /^RTM(IN(\+([0-9]|1[0-5]))?|AX(-([0-9]|1[0-4]))?)$/.test(name)
  );
}

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
  commit(stage.image, `HEALTHCHECK {Test:${goList(test)} ${shown.join(' ')} Retries:${retries}}`, {
    epoch: conversion.epoch,
  });
}

export function convertOnbuild(stage: StageState, { expression }: InstructionOf<'ONBUILD'>): void {
  const config = containerOf(stage.image);
  config.OnBuild = [...(config.OnBuild ?? []), expression];
}
