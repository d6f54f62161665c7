/** Asks a daemon for `_ping` again and again on a thread of its own, so that this process's work does not count. */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

/** Pause between an answer and the next question, ms. */
const pause = 10;

/** Starts; the function that is given ends it and gives all answers' times, ms. */
export function startPings(socket: string): () => Promise<number[]> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { socket } });
  return () =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.postMessage('stop');
    });
}

async function pingUntilStopped(socket: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const times: number[] = [];
  let stopped = false;
  parentPort?.once('message', () => {
    stopped = true;
  });
  while (!stopped) {
    const started = performance.now();
    await new Promise<void>((resolve, reject) => {
      request({ socketPath: socket, path: '/_ping', agent }, (response) => {
        response.resume().once('end', resolve);
      })
        .once('error', reject)
        .end();
    });
    times.push(performance.now() - started);
    await sleep(pause);
  }
  agent.destroy();
  return times;
}

if (!isMainThread) {
  const { socket } = workerData as { socket: string };
  parentPort?.postMessage(await pingUntilStopped(socket));
}
