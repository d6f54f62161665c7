import type { StepUsage, UsageSample } from '../progress/index.ts';
import type { CgroupHost } from './cgroups.ts';
import { cpuBetween, machineCpu } from './machine-usage.ts';
import { Sampling } from './sampling.ts';
import { usageOf } from './usage.ts';

/** Most samples of a step in a record, as in BuildKit. */
const mostSamples = 10;

/** Records what one step uses, from now until `end`. */
export class StepRecorder {
  readonly #cpuBefore = machineCpu();
  readonly #samples: Sampling<UsageSample>;

  constructor(host: CgroupHost, group: string) {
    this.#samples = new Sampling(
      () => ({ timestamp: new Date().toISOString(), ...usageOf(host, group) }),
      mostSamples,
    );
  }

  /** Everything that was recorded. It is called while the step's cgroup is still there. */
  end(): StepUsage {
    const samples = this.#samples.end();
    return { samples, sysCPUStat: cpuBetween(this.#cpuBefore, machineCpu()) };
  }

  /** Ends the recording of a step whose end is not told. */
  stop(): void {
    this.#samples.stop();
  }
}
