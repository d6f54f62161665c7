/**
 * Layers that an output will have packed are packed while later steps run: one after the other, and only while processors
 * have nothing else to do. The output finds them done; what was not done it does itself.
 */
import { readFileSync } from 'node:fs';
import type { LayerPacker } from '../exporter/index.ts';
import { pause } from '../flow/index.ts';
import type { Graph } from '../llb/index.ts';
import type { Digest } from '../oci/index.ts';
import type { Vertex } from '../solver/index.ts';
import type { Ref } from '../store/index.ts';
import { isPoolIdle } from '../workers/index.ts';
import { layerChain } from './layer-chain.ts';

/** For how long a processor must have been idle, in ms; a build that is over sooner packs nothing ahead. */
const window = 60;

interface PackAheadOptions {
  pack: LayerPacker;
  lease: string;
  /** Resolves to whether a processor has been idle for some time; by default the kernel is asked. */
  idle?: (signal: AbortSignal) => Promise<boolean>;
}

export class PackAhead {
  readonly #options: PackAheadOptions;
  readonly #idle: (signal: AbortSignal) => Promise<boolean>;
  readonly #chains: Map<Digest, number>[] = [];
  readonly #waiting: string[] = [];
  readonly #stop = new AbortController();
  #isOver = false;
  #working: Promise<void> | undefined;

  constructor(options: PackAheadOptions) {
    this.#options = options;
    this.#idle = options.idle ?? isProcessorIdle;
  }

  /** Takes a graph that is about to be solved: the layers of its result may be wanted. */
  expect(graph: Graph): void {
    if (!this.#isOver) this.#chains.push(layerChain(graph));
  }

  /** Takes what a step has just made. */
  made(vertex: Vertex, refs: readonly Ref[]): void {
    if (this.#isOver) return;
    for (const chain of this.#chains) {
      const index = chain.get(vertex.digest);
      const form = index === undefined ? undefined : refs[index]?.serialize();
      if (form?.kind !== 'snapshot' || this.#waiting.includes(form.key)) continue;
      this.#waiting.push(form.key);
      this.#working ??= this.#work().finally(() => {
        this.#working = undefined;
      });
    }
  }

  /** Begins no further layer: the outputs are being made. */
  end(): void {
    this.#isOver = true;
    this.#waiting.length = 0;
  }

  /** Gives up what is under way, and waits for its end. */
  async close(): Promise<void> {
    this.end();
    this.#stop.abort();
    await this.#working;
  }

  async #work(): Promise<void> {
    const { signal } = this.#stop;
    const { pack, lease } = this.#options;
    try {
      while (this.#waiting.length > 0) {
        if (!(await this.#idle(signal))) continue;
        const key = this.#waiting.shift();
        if (key !== undefined) await pack(key, { lease, signal });
      }
    } catch {
      // The output does it, and tells what is wrong with it.
      this.end();
    }
  }
}

/** Whether no thread of this process computes, and a processor has been idle all the while that this waits. */
async function isProcessorIdle(signal: AbortSignal): Promise<boolean> {
  const before = idleTime();
  const started = performance.now();
  await pause(window, signal);
  const share = (idleTime() - before) / (performance.now() - started);
  // The kernel counts in ticks of 10 ms.
  return isPoolIdle() && share >= 0.8;
}

/** How long the machine's processors have been idle, all together, in ms. */
function idleTime(): number {
  const line = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0] ?? '';
  const [idle = 0, waiting = 0] = line.trim().split(/\s+/).slice(4, 6).map(Number);
  return (idle + waiting) * 10;
}
