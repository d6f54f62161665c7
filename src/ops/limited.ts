/** Keeps the number of steps that run at a time within a limit. */
import { canceled } from '../errors/error.ts';
import type { OpFactory } from '../solver/types.ts';
import { Waiting } from '../workers/waiting.ts';

/** Ops that do no work themselves; one that waits for a graph of its own would hold up what it waits for. */
const free: ReadonlySet<string | undefined> = new Set(['build', 'passthrough']);

/** The same ops, of which `limit` run at a time, over all builds. */
export function limitedOps(makeOp: OpFactory, limit: number): OpFactory {
  const places = new Places(limit);
  return (vertex) => {
    const op = makeOp(vertex);
    if (free.has(vertex.op.op.case)) return op;
    return {
      cacheMap: (ctx) => op.cacheMap(ctx),
      async exec(inputs, ctx) {
        await places.take(ctx.signal);
        try {
          return await op.exec(inputs, ctx);
        } finally {
          places.give();
        }
      },
    };
  };
}

class Places {
  #free: number;
  readonly #waiting = new Waiting<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Waits for a place; throws `canceled` when the signal fires first. */
  async take(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw canceled(signal.reason);
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.remove(go);
        reject(canceled(signal.reason));
      };
      const go = () => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      this.#waiting.push(go);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
