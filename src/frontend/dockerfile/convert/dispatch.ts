import { throwIfAborted } from '../../../errors/index.ts';
import { defaultEnv } from '../../../oci/index.ts';
import { convertArg } from './arg.ts';
import { inherit } from './bases.ts';
import {
  convertCommand,
  convertHealthcheck,
  convertMaintainer,
  convertOnbuild,
  convertPairs,
  convertShell,
  convertStopSignal,
  convertUser,
  convertVolume,
} from './config-instructions.ts';
import type { Conversion } from './conversion.ts';
import { convertCopy } from './copy.ts';
import { convertExpose } from './expose.ts';
import { containerOf, splitEnv } from './image.ts';
import { located } from './located.ts';
import { convertRun } from './run.ts';
import type { StageCommand, StageState } from './stages.ts';
import { convertWorkdir, setWorkdir } from './workdir.ts';

/** Converts the instructions of a stage whose base is known; yields after each. */
export function* convertStage(conversion: Conversion, stage: StageState): Generator<void, void> {
  const { request, file } = conversion;
  yield* inherit(stage, conversion.target);
  stage.dispatched = true;
  stage.platform ??= conversion.target;
  const { grown } = stage;
  if (!grown.env.has('PATH')) {
    for (const entry of defaultEnv(stage.image.os) ?? []) grown.env = grown.env.set(...splitEnv(entry));
    stage.imageEnvLast = false;
  }
  const { WorkingDir, User, Shell } = containerOf(stage.image);
  if (Shell?.length && stage.stage !== undefined) conversion.shellInBase.add(stage.stage);
  let { state } = stage;
  if (!stage.imageEnvLast) {
    conversion.allowances.inherited.take(grown.env.size);
    let { env } = state.values;
    for (const [name, value] of grown.env) {
      env = env.set(name, value);
      yield;
    }
    state = state.with({ env });
    stage.imageEnvLast = true;
  }
  state = state.platform(stage.platform).with({ network: request.network });
  if (request.hostname) state = state.with({ hostname: request.hostname });
  if (User) state = state.user(User);
  stage.state = state;
  if (WorkingDir) setWorkdir(stage, WorkingDir);
  for (const command of stage.commands) {
    yield;
    throwIfAborted(conversion.signal);
    stage.onBuildNow = command.onBuild;
    try {
      convertInstruction(conversion, stage, command);
    } catch (err) {
      throw located(err, file, command.instruction.range);
    }
  }
}

function convertInstruction(conversion: Conversion, stage: StageState, command: StageCommand): void {
  const { instruction, sources } = command;
  switch (instruction.kind) {
    case 'ARG':
      convertArg(conversion, stage, instruction);
      break;
    case 'ENV':
    case 'LABEL':
      convertPairs(conversion, stage, instruction);
      break;
    case 'MAINTAINER':
      convertMaintainer(conversion, stage, instruction);
      break;
    case 'RUN':
      convertRun(conversion, stage, instruction, sources);
      break;
    case 'CMD':
    case 'ENTRYPOINT':
      convertCommand(conversion, stage, instruction);
      break;
    case 'SHELL':
      convertShell(conversion, stage, instruction);
      break;
    case 'COPY':
    case 'ADD':
      convertCopy(conversion, stage, instruction, sources);
      break;
    case 'WORKDIR':
      convertWorkdir(conversion, stage, instruction);
      break;
    case 'USER':
      convertUser(conversion, stage, instruction);
      break;
    case 'STOPSIGNAL':
      convertStopSignal(conversion, stage, instruction);
      break;
    case 'EXPOSE':
      convertExpose(conversion, stage, instruction);
      break;
    case 'VOLUME':
      convertVolume(conversion, stage, instruction);
      break;
    case 'HEALTHCHECK':
      convertHealthcheck(conversion, stage, instruction);
      break;
    case 'ONBUILD':
      convertOnbuild(stage, instruction);
      break;
  }
}
