import { absolutePath, mkdir } from '../../../llb/index.ts';
import type { InstructionOf } from '../ast.ts';
import { workdirRelativePathFinding } from '../lint/findings.ts';
import { type Conversion, expandIn, opLocation } from './conversion.ts';
import { commit } from './history.ts';
import { containerOf } from './image.ts';
import type { StageState } from './stages.ts';
import { nextStep, stepText } from './step-names.ts';

/** Converts WORKDIR: the folder becomes the working directory, and is made if it is missing. */
export function convertWorkdir(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'WORKDIR'>,
): void {
  const path = expandIn(conversion, stage, instruction.value, instruction);
  if (!stage.workdirSet && !path.startsWith('/')) {
    conversion.findings.add(workdirRelativePathFinding(path, instruction.range));
  }
  stage.workdirSet = true;
  const dir = setWorkdir(stage, path);
  if (dir === '/') {
    commit(conversion, stage, `WORKDIR ${dir}`);
    return;
  }
  const { env } = stage.state.values;
  const text = stepText(conversion, instruction.original, env);
  stage.state = stage.state.file(
    mkdir(dir, {
      mode: 0o755,
      parents: true,
      chown: containerOf(stage.image).User,
      timestampNs: conversion.epoch === undefined ? undefined : BigInt(conversion.epoch) * 1_000_000_000n,
    }),
    {
      name: nextStep(conversion, stage, text, stage.platform, env),
      location: opLocation(conversion, instruction.range),
    },
  );
  commit(conversion, stage, `WORKDIR ${dir}`, { layer: true });
}

/**
 * Sets the working directory in config and state. An absolute path stays as written; a relative one is joined and
 * cleaned (it has no slash at its end), as in BuildKit.
 */
export function setWorkdir(stage: StageState, path: string): string {
  const config = containerOf(stage.image);
  const dir = path.startsWith('/') ? path : absolutePath(config.WorkingDir || '/', path);
  config.WorkingDir = dir;
  stage.state = stage.state.dir(dir);
  return dir;
}
