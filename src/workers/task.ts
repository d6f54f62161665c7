/** The contract of a task: work that runs on one of the pool's threads. */

/** The connection of a running task to its caller. */
export interface TaskContext {
  /** Sends a message to the caller's `onMessage`. */
  post(message: unknown): void;
  /** Whether the caller gave up. Long loops ask this now and then, and throw `canceled()`. */
  aborted(): boolean;
}

/** The tasks of the program: name → arguments and result. `src/tasks.ts` lists them and fills this type. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by declaration merging
export interface Tasks {}

/** A list of tasks: name → loader of the function. A function and its modules are loaded at its first call. */
export type TaskTable = Record<string, () => Promise<(args: never, ctx: TaskContext) => unknown>>;

/** The arguments and results of the tasks in a table. */
export type CallsOf<T> = {
  [K in keyof T]: T[K] extends () => Promise<(args: infer A, ...rest: never) => infer R>
    ? { args: A; result: Awaited<R> }
    : never;
};
