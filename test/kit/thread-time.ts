/**
 * How long this thread is not to be had, as CPU time, which a busy machine does not make longer; and requests that are
 * sent by another thread, whose work does not count.
 */
import { Worker } from 'node:worker_threads';

/** What is promised: how long the thread may be kept from others, ms of CPU on a machine of usual speed. */
const promisedMs = 50;

/**
 * Most that a test's hold may be. The test's own work, the collector, and other processes that take the caches away add
 * to what is promised.
 */
export const mostHold = promisedMs * 2;

/** ms of CPU that the piece of work below takes on a machine of usual speed. */
const usualMs = 8;

/** How many times longer this machine takes for the same work now, at least 1. */
function slowness(): number {
  const took: number[] = [];
  for (let i = 0; i < 5; i++) {
    const before = process.threadCpuUsage();
    const rows = Array.from({ length: 6000 }, (_, at) => ({
      name: `name-${at % 977}`,
      at,
      list: [at, at + 1],
    }));
    const seen = new Map<string, number>();
    for (const { name, at } of JSON.parse(JSON.stringify(rows)) as typeof rows)
      seen.set(name.replace(/-(\d+)$/, '+$1'), at);
    [...seen].sort(([a], [b]) => (a < b ? -1 : 1));
    const { user, system } = process.threadCpuUsage(before);
    took.push((user + system) / 1000);
  }
  return Math.max(1, (took.sort((a, b) => a - b)[2] as number) / usualMs);
}

/** ms of CPU of this thread that something takes, on a machine of usual speed. */
export function threadMs(what: () => unknown): number {
  const slow = slowness();
  const before = process.threadCpuUsage();
  what();
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000 / slow;
}

/**
 * The longest that the thread was not to be had while something ran: ms of CPU between two of its own timers, on a
 * machine of usual speed.
 */
export async function longestHold(what: () => Promise<unknown>): Promise<number> {
  const slow = slowness();
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
  return longest / Math.max(slow, slowness());
}

/**
 * The same of what is done several times, until it is as short as it has to be: the shortest, as what is compiled once,
 * the collector, and others on the machine that take its caches away do not count.
 */
export async function usualHold(what: (attempt: number) => Promise<unknown>, times = 4): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times && least >= mostHold; i++)
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
