/** A pool of threads, what a task of it is told, and turns of the main thread. */
export { poolLoaded, runTask, warmPool } from './pool.ts';
export { PortSender, receiveFromTask, receiveStream, sendStream } from './port-stream.ts';
export type { TaskContext } from './task.ts';
export { atOnce, inTurns, isDue, nextTurn, sorted } from './turns.ts';
export { type PlainError, packError, taskError } from './wire.ts';
