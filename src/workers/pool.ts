/**
 * A small pool of worker threads for work that would block the main thread: bulk file work, hashing, layers. Threads
 * start when first needed, stay warm, and never keep the process alive while idle.
 */
import { availableParallelism } from 'node:os';
import { type Transferable, Worker } from 'node:worker_threads';
import { canceled, type DrydockError, fail, toDrydockError } from '../errors/index.ts';
import { Waiting } from '../flow/index.ts';
import type { Tasks } from './task.ts';
import { type TaskCall, type TaskPreload, type TaskReply, type TaskRest, taskError } from './wire.ts';

interface TaskOptions {
  /** Tells the task to stop; the call then fails with `canceled` when the task has stopped. */
  signal?: AbortSignal;
  /** Messages that the task posts while it runs, in order. */
  onMessage?: (message: unknown) => void;
  /** Objects that are handed over instead of copied (MessagePorts, ArrayBuffers). */
  transfer?: Transferable[];
  /**
   * Set for a task that waits for others now and then (it reads or writes a stream): it is never queued, and shares a
   * thread with other waiting tasks when there are many.
   */
  waits?: boolean;
  /** Runs the task on a thread of its own, which ends with it: for a task that leaves its thread unfit for others. */
  alone?: boolean;
  /** Set with `alone` for a task that serves others: the process may end while it runs. */
  background?: boolean;
}

/** A task that waits for a thread or runs on one. */
interface PendingTask {
  call: TaskCall;
  options: TaskOptions;
  resolve(result: unknown): void;
  reject(err: DrydockError): void;
}

interface Thread {
  worker: Worker;
  /** Tasks whose code the thread may be loading now, and the task that it may be running ahead. */
  loading: Set<string>;
  loaded: Set<string>;
  /** Tasks by call id: one that computes, or any number of waiting ones. */
  tasks: Map<number, PendingTask>;
  /** Whether its present or last tasks are waiting ones. */
  streams: boolean;
  /** Ends the thread, when more threads are idle than need stay warm. */
  rest?: NodeJS.Timeout;
}

/** The number of threads that compute, and of those that waiting tasks share. */
const limit = Math.max(1, Math.min(4, availableParallelism()));
/** How long threads beyond `limit` stay warm, ms. */
const warmFor = 10_000;
/** The most memory for a thread's new objects, in MB. Tasks make few that last; V8 would take 48. */
const youngMb = 6;
const threads = new Set<Thread>();
const queue = new Waiting<PendingTask>();
let lastId = 0;

/**
 * Runs a task of `tasks.ts` on a worker thread. Rejects with the task's own DrydockError, with `canceled` when the
 * signal fires, or with `internal` when the thread dies.
 */
export function runTask<K extends keyof Tasks>(
  name: K,
  args: Tasks[K]['args'],
  options: TaskOptions = {},
): Promise<Tasks[K]['result']> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(canceled(signal.reason));
    const flag = newFlag();
    const call: TaskCall = { id: ++lastId, name, args, flag };
    const onAbort = () => {
      Atomics.store(flag, 0, 1);
      if (queue.remove(task)) task.reject(canceled(signal?.reason));
    };
    const task: PendingTask = {
      call,
      options,
      resolve: (result) => {
        signal?.removeEventListener('abort', onAbort);
        resolve(result as Tasks[K]['result']);
      },
      reject: (err) => {
        signal?.removeEventListener('abort', onAbort);
        reject(signal?.aborted ? canceled(signal.reason) : err);
      },
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    schedule(task);
  });
}

function newFlag(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4));
}

function schedule(task: PendingTask): void {
  if (task.options.alone === true) {
    const thread = start();
    threads.delete(thread);
    give(thread, task);
    return;
  }
  const waits = task.options.waits === true;
  let idle: Thread | undefined;
  let fewest: Thread | undefined;
  let alike = 0;
  for (const thread of threads) {
    if (thread.tasks.size === 0) {
      // A thread that has loaded the task's code already is preferred.
      if (idle === undefined || thread.loaded.has(task.call.name)) idle = thread;
    } else if (thread.streams === waits) {
      alike++;
      if (thread.tasks.size < (fewest?.tasks.size ?? Number.POSITIVE_INFINITY)) fewest = thread;
    }
  }
  if (alike >= limit) idle = undefined;
  else idle ??= start();
  if (idle !== undefined) give(idle, task);
  else if (waits && fewest !== undefined) give(fewest, task);
  else queue.push(task);
}

function give(thread: Thread, task: PendingTask): void {
  thread.tasks.set(task.call.id, task);
  thread.streams = task.options.waits === true;
  clearTimeout(thread.rest);
  if (!thread.loaded.has(task.call.name)) thread.loading.add(task.call.name);
  if (task.options.background !== true) thread.worker.ref();
  try {
    thread.worker.postMessage(task.call, task.options.transfer ?? []);
  } catch (err) {
    finish(thread, task.call.id);
    task.reject(toDrydockError(err));
  }
}

/** Whether no thread computes and no task waits for one. Tasks that wait for others now and then do not count. */
export function isPoolIdle(): boolean {
  if (queue.size > 0) return false;
  for (const { tasks, streams } of threads) if (tasks.size > 0 && !streams) return false;
  return true;
}

/** Takes a task off a thread. After its last one, gives the thread the next task or lets it rest. */
function finish(thread: Thread, id: number): PendingTask | undefined {
  const task = thread.tasks.get(id);
  thread.tasks.delete(id);
  if (task?.options.alone === true) {
    void thread.worker.terminate();
    return task;
  }
  if (thread.tasks.size > 0) return task;
  const next = thread.streams ? undefined : queue.shift();
  if (next !== undefined) give(thread, next);
  else {
    thread.worker.unref();
    thread.rest = setTimeout(() => {
      if (threads.size > limit && threads.delete(thread)) void thread.worker.terminate();
    }, warmFor);
    thread.rest.unref();
  }
  return task;
}

/** The thread's program: `src/worker.ts`, or the file made of it beside this one in either bundle. */
function threadEntry(): URL {
  const extension = /\.(?:ts|cjs)$/.exec(import.meta.url)?.[0] ?? '.js';
  return new URL(extension === '.ts' ? '../worker.ts' : `./worker${extension}`, import.meta.url);
}

function start(): Thread {
  const worker = new Worker(threadEntry(), {
    execArgv: [],
    name: 'drydock',
    resourceLimits: { maxYoungGenerationSizeMb: youngMb },
  });
  const thread: Thread = {
    worker,
    loading: new Set(),
    loaded: new Set(),
    tasks: new Map(),
    streams: false,
  };
  worker.on('message', (reply: TaskReply) => {
    if (reply.type === 'loaded') return hasLoaded(thread, reply.tasks);
    const task = thread.tasks.get(reply.id);
    if (task === undefined) return;
    if (reply.type === 'message') return task.options.onMessage?.(reply.message);
    finish(thread, reply.id);
    if (reply.type === 'result') task.resolve(reply.result);
    else task.reject(taskError(reply.error));
  });
  const died = (why: string, cause?: unknown) => {
    hasLoaded(thread, [...thread.loading]);
    const isAlone = [...thread.tasks.values()].some(({ options }) => options.alone === true);
    if (!threads.delete(thread) && !isAlone) return;
    for (const { call, reject } of thread.tasks.values()) {
      reject(
        startError(cause) ?? fail('internal', 'host', `the worker thread for ${call.name} ${why}`, { cause }),
      );
    }
    thread.tasks.clear();
    const next = queue.shift();
    if (next !== undefined) schedule(next);
  };
  worker.on('error', (err) => died(`failed: ${err instanceof Error ? err.message : String(err)}`, err));
  worker.on('exit', (code) => died(`ended with code ${code}`));
  worker.unref();
  threads.add(thread);
  return thread;
}

/** Node tells only in words that the system had no thread for us. */
function startError(err: unknown): DrydockError | undefined {
  const code =
    err instanceof Error ? /^Worker initialization failure: (E\w+)/.exec(err.message)?.[1] : undefined;
  return code === undefined ? undefined : toDrydockError(Object.assign(err as Error, { code }));
}

/**
 * Starts one thread that loads the code of tasks which will be needed soon, beside the work of the main thread. Then it
 * runs `ahead`, a task that must give way to others and whose result nobody awaits.
 */
export function warmPool<K extends keyof Tasks>(
  names: readonly (keyof Tasks)[],
  ahead?: { name: K; args: Tasks[K]['args'] },
): void {
  if (threads.size > 0) return;
  const thread = start();
  for (const name of names) thread.loading.add(name);
  const flag = newFlag();
  if (ahead !== undefined) {
    thread.loading.add(ahead.name);
    stopAhead = () => Atomics.store(flag, 0, 1);
  }
  const told: TaskPreload = { preload: [...names], ahead: ahead && { ...ahead, flag } };
  thread.worker.postMessage(told);
}

let settled: (() => void) | undefined;
let stopAhead: (() => void) | undefined;

function hasLoaded(thread: Thread, names: readonly string[]): void {
  for (const name of names) {
    thread.loading.delete(name);
    thread.loaded.add(name);
  }
  if (!isLoading()) settled?.();
}

function isLoading(): boolean {
  for (const { loading } of threads) if (loading.size > 0) return true;
  return false;
}

/**
 * Resolves when no thread is loading code or running a task ahead. A process that exits while a native module is being
 * loaded, or during a failing native call, is aborted by Node whatever its exit code should have been.
 */
export async function poolLoaded(): Promise<void> {
  stopAhead?.();
  if (!isLoading()) return;
  // A thread that never answers must not keep a command from ending.
  const patience = setTimeout(() => settled?.(), 5000);
  await new Promise<void>((resolve) => {
    settled = resolve;
  });
  clearTimeout(patience);
}

/**
 * Has threads that have nothing to do give memory back. As many as `warm` stay, and are as quick to work as before; the
 * others end, and are started anew when they are needed.
 */
export function restPool(warm: number): void {
  const idle = [...threads].filter(({ tasks, loading }) => tasks.size === 0 && loading.size === 0);
  // Those that have loaded most stay.
  idle.sort((a, b) => b.loaded.size - a.loaded.size);
  for (const { worker } of idle.slice(0, warm)) worker.postMessage({ rest: true } satisfies TaskRest);
  for (const thread of idle.slice(warm)) {
    threads.delete(thread);
    clearTimeout(thread.rest);
    void thread.worker.terminate();
  }
}

/** Ends all threads. Only tests and one-shot tools need it; a process may exit with a warm pool. */
export async function closePool(): Promise<void> {
  await Promise.all(
    [...threads].map((thread) => {
      threads.delete(thread);
      clearTimeout(thread.rest);
      for (const { reject } of thread.tasks.values()) reject(canceled('the worker pool was closed'));
      thread.tasks.clear();
      return thread.worker.terminate();
    }),
  );
}
