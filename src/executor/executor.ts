/**
 * Runs steps with an OCI runtime. The code for it is loaded when a step runs: a build whose steps are all cached goes
 * without.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { canceled, throwIfAborted } from '../errors/index.ts';
import { Limiter } from '../flow/index.ts';
import { createNetwork } from '../network/index.ts';
import type { ExecutorOptions, Host } from './run-step.ts';
import type { Runtime } from './runtime.ts';
import type { Executor } from './types.ts';

/**
 * How many containers start at one time. A start is a burst of processes. Fifty starts at once hold each other up, and
 * this process with them, for it waits for each new child. Containers that run do not count.
 */
const startsAtOnce = 2 * availableParallelism();

/** Makes the executor. When its first step runs, it sweeps what killed processes left behind. */
export function createExecutor(options: ExecutorOptions): Executor & { runtime(): Promise<Runtime> } {
  let host: Host | undefined;
  let isClosed = false;
  /** So many steps were announced and have not begun. */
  let expected = 0;
  const networks = options.network ?? createNetwork(join(options.stateDir, 'network'), { mode: 'host' });
  const starts = new Limiter(startsAtOnce);
  const load = async () => {
    const { lookAtHost, runStep } = await import('./run-step.ts');
    if (isClosed) throw canceled();
    host ??= lookAtHost(options, () => expected > 0);
    return { host, runStep };
  };
  return {
    expect(network) {
      expected++;
      const over = networks.expect(network);
      let isOver = false;
      return () => {
        over();
        if (!isOver) expected--;
        isOver = true;
      };
    },
    async run(spec, io, signal) {
      throwIfAborted(signal);
      const loaded = await load();
      const end = await starts.place(signal);
      // Not in a row: others have their turns of the event loop in between.
      const started = () => setImmediate(end);
      try {
        return await loaded.runStep(
          { ...options, network: networks },
          loaded.host,
          spec,
          io,
          signal,
          started,
        );
      } finally {
        started();
      }
    },
    async runtime() {
      return (await load()).host.runtime();
    },
    close() {
      isClosed = true;
      host?.owner.release();
      host?.launcher.close();
      host?.namespace?.close();
      host = undefined;
    },
  };
}
