import { join } from 'node:path';
import { notedUnder } from '../../notes/take-in.ts';
import { Jobs } from '../jobs/jobs.ts';
import { History, type HistoryLimits } from './history.ts';

interface Opening {
  /** A daemon's; default: those that were kept. */
  limits?: HistoryLimits;
  /** Get the logs of the builds that run without a daemon. */
  jobs?: Jobs;
}

/** Opens the history of a root, in which builds without a daemon are as well. */
export function openHistory(root: string, { limits, jobs = new Jobs() }: Opening = {}): History {
  return new History(join(root, 'history.db'), limits, notedUnder(root, jobs));
}
