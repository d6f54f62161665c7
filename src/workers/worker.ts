/** Entry of a pool thread: takes calls and answers them. */
import { parentPort } from 'node:worker_threads';
import { fail } from '../errors/error.ts';
import { type TaskContext, tasks } from './tasks.ts';
import { packError, type TaskCall, type TaskPreload, type TaskReply } from './wire.ts';

type AnyTask = (args: unknown, ctx: TaskContext) => unknown;
const loaders: Record<string, () => Promise<unknown>> = tasks;
const loaded = new Map<string, AnyTask>();

async function load(name: string): Promise<AnyTask> {
  let task = loaded.get(name);
  if (task === undefined) {
    const loader = loaders[name];
    if (loader === undefined)
      throw fail('internal', 'host', `there is no worker task ${JSON.stringify(name)}`);
    task = (await loader()) as AnyTask;
    loaded.set(name, task);
  }
  return task;
}

function send(reply: TaskReply): void {
  parentPort?.postMessage(reply);
}

async function loadTold(name: string): Promise<AnyTask> {
  const known = loaded.has(name);
  try {
    return await load(name);
  } finally {
    if (!known) send({ id: 0, type: 'loaded', tasks: [name] });
  }
}

async function prepare({ preload, ahead }: TaskPreload): Promise<void> {
  // A module that does not load fails the task that needs it, not this.
  await Promise.allSettled(preload.map(load));
  send({ id: 0, type: 'loaded', tasks: preload });
  if (ahead === undefined) return;
  const { name, args, flag } = ahead;
  try {
    const task = await load(name);
    await task(args, { post: () => {}, aborted: () => isTold(flag) });
  } finally {
    send({ id: 0, type: 'loaded', tasks: [name] });
  }
}

/** Whether whoever made a call has given up. */
function isTold(flag: Int32Array): boolean {
  return Atomics.load(flag, 0) !== 0;
}

async function answer({ id, name, args, flag }: TaskCall): Promise<void> {
  try {
    const task = await loadTold(name);
    const result = await task(args, {
      post: (message) => send({ id, type: 'message', message }),
      aborted: () => isTold(flag),
    });
    send({ id, type: 'result', result });
  } catch (err) {
    send({ id, type: 'error', error: packError(err) });
  }
}

parentPort?.on('message', (message: TaskCall | TaskPreload) => {
  if ('preload' in message) prepare(message).catch(() => {});
  else void answer(message);
});
