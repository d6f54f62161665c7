/** A pool of threads, the contract of its tasks, and turns of the main thread. */

export { collectAll } from './collect.ts';
export { notePassed } from './large-stream.ts';
export { isPoolIdle, poolLoaded, restPool, runTask, warmPool } from './pool.ts';
export { PortSender, receiveFromTask, receiveStream, sendStream } from './port-stream.ts';
export type { TaskContext } from './task.ts';
export { atOnce, inTurns, isDue, nextTurn, sorted } from './turns.ts';
export { type PlainError, packError, taskError } from './wire.ts';
