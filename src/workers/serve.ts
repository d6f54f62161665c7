/** The loop of a pool's thread, which takes calls and answers them. */
import { parentPort } from 'node:worker_threads';
import { fail } from '../errors/index.ts';
import { collectAll } from './collect.ts';
import type { TaskContext, TaskTable } from './task.ts';
import { packError, type TaskCall, type TaskPreload, type TaskReply, type TaskRest } from './wire.ts';

type AnyTask = (args: unknown, ctx: TaskContext) => unknown;

/** Makes this thread one of a pool that runs the tasks of `table`, as long as the pool wants it. */
export function serveTasks(table: TaskTable): void {
  const thread = new PoolThread(table);
  parentPort?.on('message', (message: TaskCall | TaskPreload | TaskRest) => {
    if ('rest' in message) collectAll();
    else if ('preload' in message) thread.prepare(message).catch(() => {});
    else void thread.answer(message);
  });
}

class PoolThread {
  readonly #table: TaskTable;
  readonly #loaded = new Map<string, AnyTask>();

  constructor(table: TaskTable) {
    this.#table = table;
  }

  async prepare({ preload, ahead }: TaskPreload): Promise<void> {
    // A module that does not load fails the task that needs it, not this preloading.
    await Promise.allSettled(preload.map((name) => this.#load(name)));
    send({ id: 0, type: 'loaded', tasks: preload });
    if (ahead === undefined) return;
    const { name, args, flag } = ahead;
    try {
      const task = await this.#load(name);
      await task(args, { post: () => {}, aborted: () => isTold(flag) });
    } finally {
      send({ id: 0, type: 'loaded', tasks: [name] });
    }
  }

  async answer({ id, name, args, flag }: TaskCall): Promise<void> {
    try {
      const task = await this.#loadTold(name);
      const result = await task(args, {
        post: (message) => send({ id, type: 'message', message }),
        aborted: () => isTold(flag),
      });
      send({ id, type: 'result', result });
    } catch (err) {
      send({ id, type: 'error', error: packError(err) });
    }
  }

  async #loadTold(name: string): Promise<AnyTask> {
    const known = this.#loaded.has(name);
    try {
      return await this.#load(name);
    } finally {
      if (!known) send({ id: 0, type: 'loaded', tasks: [name] });
    }
  }

  async #load(name: string): Promise<AnyTask> {
    let task = this.#loaded.get(name);
    if (task === undefined) {
      const loader = this.#table[name];
      if (loader === undefined)
        throw fail('internal', 'host', `there is no worker task ${JSON.stringify(name)}`);
      task = (await loader()) as AnyTask;
      this.#loaded.set(name, task);
    }
    return task;
  }
}

function send(reply: TaskReply): void {
  parentPort?.postMessage(reply);
}

/** Whether the caller of a task has given up. */
function isTold(flag: Int32Array): boolean {
  return Atomics.load(flag, 0) !== 0;
}
