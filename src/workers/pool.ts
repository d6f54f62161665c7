/**
 * A small pool of worker threads for work that would block the main thread: bulk file work, hashing, layers.
 * Threads start when first needed, stay warm, and never keep the process alive while idle.
 */
import { availableParallelism } from 'node:os';
import { type Transferable, Worker } from 'node:worker_threads';
import { canceled, type DrydockError, fail, toDrydockError } from '../errors/error.ts';
import type { Tasks } from './tasks.ts';
import { type TaskCall, type TaskPreload, type TaskReply, taskError } from './wire.ts';

export interface TaskOptions {
  /** When it fires, the task is told to stop and the call fails with `canceled` once it has. */
  signal?: AbortSignal;
  /** Messages that the task posts while it runs, in order. */
  onMessage?: (message: unknown) => void;
  /** Things handed over rather than copied (MessagePorts, ArrayBuffers). */
  transfer?: Transferable[];
  /** The task may wait for others (it reads a stream): never queue it, use an extra thread if all are busy. */
  waits?: boolean;
}

interface Job {
  call: TaskCall;
  options: TaskOptions;
  resolve(result: unknown): void;
  reject(err: DrydockError): void;
}

interface Thread {
  worker: Worker;
  /** Tasks whose code it may be loading right now. */
  loading: Set<string>;
  loaded: Set<string>;
  job?: Job;
}

const limit = Math.max(1, Math.min(4, availableParallelism()));
const threads = new Set<Thread>();
const queue: Job[] = [];
let lastId = 0;

/**
 * Runs a task of `tasks.ts` on a worker thread. Fails with the task's own DrydockError, with `canceled` when the
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
    const flag = new Int32Array(new SharedArrayBuffer(4));
    const call: TaskCall = { id: ++lastId, name, args, flag };
    const onAbort = () => {
      Atomics.store(flag, 0, 1);
      const at = queue.indexOf(job);
      if (at < 0) return;
      queue.splice(at, 1);
      job.reject(canceled(signal?.reason));
    };
    const job: Job = {
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
    schedule(job);
  });
}

function schedule(job: Job): void {
  let idle: Thread | undefined;
  for (const thread of threads) if (thread.job === undefined) idle = thread;
  if (idle === undefined && (threads.size < limit || job.options.waits)) idle = start();
  if (idle === undefined) queue.push(job);
  else give(idle, job);
}

function give(thread: Thread, job: Job): void {
  thread.job = job;
  if (!thread.loaded.has(job.call.name)) thread.loading.add(job.call.name);
  thread.worker.ref();
  try {
    thread.worker.postMessage(job.call, job.options.transfer ?? []);
  } catch (err) {
    finish(thread);
    job.reject(toDrydockError(err));
  }
}

/** Takes the job off a thread and gives it the next one, or lets it rest. */
function finish(thread: Thread): Job | undefined {
  const job = thread.job;
  thread.job = undefined;
  const next = queue.shift();
  if (next !== undefined) give(thread, next);
  else if (threads.size > limit) {
    threads.delete(thread);
    void thread.worker.terminate();
  } else thread.worker.unref();
  return job;
}

function start(): Thread {
  // Beside this file: as source, in the library's bundle, or in the command's.
  const extension = /\.(?:ts|cjs)$/.exec(import.meta.url)?.[0] ?? '.js';
  const worker = new Worker(new URL(`./worker${extension}`, import.meta.url), {
    execArgv: [],
    name: 'drydock',
  });
  const thread: Thread = { worker, loading: new Set(), loaded: new Set() };
  worker.on('message', (reply: TaskReply) => {
    if (reply.type === 'loaded') return hasLoaded(thread, reply.tasks);
    if (reply.id !== thread.job?.call.id) return;
    if (reply.type === 'message') thread.job.options.onMessage?.(reply.message);
    else if (reply.type === 'result') finish(thread)?.resolve(reply.result);
    else finish(thread)?.reject(taskError(reply.error));
  });
  const died = (why: string, cause?: unknown) => {
    hasLoaded(thread, [...thread.loading]);
    if (!threads.delete(thread)) return;
    thread.job?.reject(
      fail('internal', 'host', `the worker thread for ${thread.job.call.name} ${why}`, { cause }),
    );
    thread.job = undefined;
    const next = queue.shift();
    if (next !== undefined) schedule(next);
  };
  worker.on('error', (err) => died(`failed: ${err instanceof Error ? err.message : String(err)}`, err));
  worker.on('exit', (code) => died(`ended with code ${code}`));
  worker.unref();
  threads.add(thread);
  return thread;
}

/**
 * Starts one thread and has it load the code of tasks that are about to be needed, beside whatever the main thread
 * is busy with; then it runs `ahead`, which must give way to other tasks and whose outcome nobody hears of.
 */
export function warmPool<K extends keyof Tasks>(
  names: readonly (keyof Tasks)[],
  ahead?: { name: K; args: Tasks[K]['args'] },
): void {
  if (threads.size > 0) return;
  const thread = start();
  for (const name of names) thread.loading.add(name);
  thread.worker.postMessage({ preload: [...names], ahead } satisfies TaskPreload);
}

let settled: (() => void) | undefined;

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
 * Resolves when no thread is in the middle of loading code. A process that exits while a native module is being
 * loaded is aborted (Node cannot take that back), whatever its exit code was to be.
 */
export async function poolLoaded(): Promise<void> {
  if (!isLoading()) return;
  // A thread that never answers must not keep a command from ending.
  const patience = setTimeout(() => settled?.(), 5000);
  await new Promise<void>((resolve) => {
    settled = resolve;
  });
  clearTimeout(patience);
}

/** Ends all threads. Only tests and one-shot tools need it; a process may exit with a warm pool. */
export async function closePool(): Promise<void> {
  await Promise.all(
    [...threads].map((thread) => {
      threads.delete(thread);
      thread.job?.reject(canceled('the worker pool was closed'));
      return thread.worker.terminate();
    }),
  );
}
