import { join } from 'node:path';
import { notedUnder } from '../../notes/take-in.ts';
import { History, type HistoryLimits } from './history.ts';

/** Opens the history of a root, in which builds without a daemon are as well. Daemons say its limits. */
export function openHistory(root: string, limits?: HistoryLimits): History {
  return new History(join(root, 'history.db'), limits, notedUnder(root));
}
