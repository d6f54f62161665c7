import type { InstructionOf } from '../ast.ts';
import { notInEnv, own } from './args.ts';
import { type Conversion, expandIn } from './conversion.ts';
import { commit } from './history.ts';
import type { StageState } from './stages.ts';

/** Converts ARG. Its value is the client's, else the default, else the one known before the first FROM. */
export function convertArg(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'ARG'>,
): void {
  const shown: string[] = [];
  for (const arg of instruction.args) {
    conversion.consumed.add(arg.name);
    let value = own(conversion.request.buildArgs, arg.name);
    if (value === undefined && arg.default !== undefined)
      value = expandIn(conversion, stage, arg.default, instruction);
    value ??= conversion.globalArgs.get(arg.name);
    if (value !== undefined && !notInEnv.has(arg.name)) {
      stage.state = stage.state.env(arg.name, value);
      stage.imageEnvLast = false;
    }
    stage.buildArgs = stage.buildArgs.put(arg.name, value ?? '');
    shown.push(value === undefined ? arg.name : `${arg.name}=${value}`);
  }
  commit(conversion, stage, `ARG ${shown.join(' ')}`);
}
