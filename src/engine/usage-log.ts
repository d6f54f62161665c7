/** What a build has used of the machine, kept while it runs for those who record it. */
import { sampleMachine } from '../executor/index.ts';
import type { Digest } from '../oci/index.ts';
import { forwarding, type MachineSample, type ProgressSink, type StepUsage } from '../progress/index.ts';

/** Most steps whose use is kept of one build; definitions with more are not recorded step by step either. */
const mostSteps = 2000;

/** What is known of it once the build is solved. */
export interface BuildUsage {
  /** By vertex, of the steps that ran in this build or were shared with it. */
  steps: ReadonlyMap<Digest, StepUsage>;
  /** The whole machine in the time of the build. */
  machine: readonly MachineSample[];
}

/** Keeps what the steps of one build use, as their progress tells it, and samples the machine meanwhile. */
export class UsageLog {
  /** Takes the build's progress and passes it on. */
  readonly sink: ProgressSink;
  readonly #steps = new Map<Digest, StepUsage>();
  readonly #machine = sampleMachine();
  #found: BuildUsage | undefined;

  constructor(sink: ProgressSink) {
    this.sink = {
      ...forwarding(sink),
      usage: (event) => {
        if (this.#steps.size < mostSteps) this.#steps.set(event.vertex, event.usage);
        sink.usage?.(event);
      },
    };
  }

  /** Ends the samples of the machine, the first time, and returns everything. */
  end(): BuildUsage {
    this.#found ??= { steps: this.#steps, machine: this.#machine.end() };
    return this.#found;
  }

  /** Takes no more samples. */
  stop(): void {
    this.#machine.stop();
  }
}
