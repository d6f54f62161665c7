/**
 * How long this thread is not to be had, as CPU time, which a busy machine does not make longer; and requests that are
 * sent by another thread, whose work does not count.
 */
import { Worker } from 'node:worker_threads';

/** What is promised: how long the thread may be kept from others, ms of CPU. */
export const promisedMs = 50;

/** The longest that the thread was not to be had while something ran, ms of CPU between two of its own timers. */
export async function longestHold(what: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = process.threadCpuUsage();
  const look = () => {
    const { user, system } = process.threadCpuUsage(last);
    last = process.threadCpuUsage();
    longest = Math.max(longest, (user + system) / 1000);
  };
  const timer = setInterval(look, 1);
  try {
    await what();
    look();
  } finally {
    clearInterval(timer);
  }
  return longest;
}

/** Most that a hold may be, with what the test's own work and the collector's may add to it, ms of CPU. */
export const mostHold = promisedMs + 10;

/**
 * The same of what is done several times, until it is as short as it has to be: the shortest, as what is compiled once,
 * the collector, and others on the machine that take its caches away do not count.
 */
export async function usualHold(what: (attempt: number) => Promise<unknown>, times = 4): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times && least > promisedMs; i++)
    least = Math.min(least, await longestHold(() => what(i)));
  return least;
}

export interface SentElsewhere {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
}

interface Answer {
  status: number;
  text: string;
  length: number;
}

/** A thread that sends requests to a unix socket and tells the status, the first MiB of the answer, and its length. */
export interface Asker {
  ask(request: SentElsewhere): Promise<Answer>;
  stop(): Promise<void>;
}

export function startAsker(socketPath: string): Asker {
  const worker = new Worker(
    `
    const { parentPort, workerData } = require('node:worker_threads');
    const { request } = require('node:http');
    parentPort.on('message', ({ id, method, path, headers, body }) => {
      let told = false;
      const tell = (answer) => {
        if (!told) parentPort.postMessage({ id, ...answer });
        told = true;
      };
      const sent = request({ ...workerData, method, path, headers: { host: 'docker', ...headers }, agent: false });
      sent.on('error', (err) => sent.res === undefined && tell({ status: 0, text: String(err), length: 0 }));
      sent.on('response', (response) => {
        let text = '';
        let length = 0;
        response.on('data', (part) => {
          length += part.length;
          if (text.length < (1 << 20)) text += part.toString('latin1');
        });
        response.on('end', () => tell({ status: response.statusCode, text, length }));
        response.on('error', (err) => tell({ status: 0, text: String(err), length }));
      });
      sent.end(body);
    });`,
    { eval: true, workerData: { socketPath } },
  );
  const waiting = new Map<number, (answer: Answer) => void>();
  let asked = 0;
  worker.on('message', ({ id, ...answer }: Answer & { id: number }) => {
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  return {
    ask: (request) =>
      new Promise((resolve) => {
        const id = asked++;
        waiting.set(id, resolve);
        worker.postMessage({ id, ...request });
      }),
    stop: async () => void (await worker.terminate()),
  };
}
