/** The limits that an operator sets for every step, read from text. Pure. */
import { fail } from '../errors/index.ts';

/** The limits that hold for every step of an engine. */
export interface OperatorLimits {
  /**
   * The largest number of processes and threads of one step. 0: no limit. Undefined: 8192, or a quarter of the
   * machine's limit if that is less.
   */
  stepPids?: number;
  /** The oom_score_adj of steps, 0 to 1000. Undefined: 500 more than this process has. */
  stepOomScore?: number;
}

/** Reads the limits from the environment. Throws `invalid`. */
export function stepLimitsFromEnv(env: NodeJS.ProcessEnv): OperatorLimits {
  const { DRYDOCK_STEP_PIDS: pids, DRYDOCK_STEP_OOM_SCORE: score } = env;
  return {
    stepPids: stepPidsOf('DRYDOCK_STEP_PIDS', pids),
    stepOomScore: stepOomScoreOf('DRYDOCK_STEP_OOM_SCORE', score),
  };
}

/** Reads `stepPids` from a setting called `name`. Throws `invalid`. */
export function stepPidsOf(name: string, text: string | undefined): number | undefined {
  return countOf(name, text, 4_194_304);
}

/** Reads `stepOomScore` from a setting called `name`. Throws `invalid`. */
export function stepOomScoreOf(name: string, text: string | undefined): number | undefined {
  return countOf(name, text, 1000);
}

function countOf(name: string, text: string | undefined, most: number): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,7}$/.test(text) && Number(text) <= most) return Number(text);
  throw fail('invalid', 'client', `invalid ${name} ${JSON.stringify(text)}: want a number from 0 to ${most}`);
}
