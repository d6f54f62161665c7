/** What an operator holds every step to, read from text. Pure. */
import { fail } from '../errors/index.ts';

export interface OperatorLimits {
  /** Most processes and threads of one step; 0: no limit; undefined: 8192, or a quarter of the machine's if that is less. */
  stepPids?: number;
  /** oom_score_adj of steps, 0 to 1000; undefined: 500 more than this process has. */
  stepOomScore?: number;
}

/** The limits that the environment names. Throws `invalid`. */
export function stepLimitsFromEnv(env: NodeJS.ProcessEnv): OperatorLimits {
  const { DRYDOCK_STEP_PIDS: pids, DRYDOCK_STEP_OOM_SCORE: score } = env;
  return {
    stepPids: stepPidsOf('DRYDOCK_STEP_PIDS', pids),
    stepOomScore: stepOomScoreOf('DRYDOCK_STEP_OOM_SCORE', score),
  };
}

/** Throws `invalid`. */
export function stepPidsOf(name: string, text: string | undefined): number | undefined {
  return countOf(name, text, 4_194_304);
}

/** Throws `invalid`. */
export function stepOomScoreOf(name: string, text: string | undefined): number | undefined {
  return countOf(name, text, 1000);
}

function countOf(name: string, text: string | undefined, most: number): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,7}$/.test(text) && Number(text) <= most) return Number(text);
  throw fail('invalid', 'client', `invalid ${name} ${JSON.stringify(text)}: want a number from 0 to ${most}`);
}
