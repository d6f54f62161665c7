import { fail } from '../../../errors/index.ts';

/** A limit on something that a few lines can ask for without end, for one conversion. */
class Allowance {
  #left: number;
  /** Whether more was asked for than the limit. */
  isExceeded = false;
  readonly #what: string;

  constructor(left: number, what: string) {
    this.#left = left;
    this.#what = what;
  }

  /** Takes an amount. Throws `exhausted` (hop `dockerfile`) when the limit is exceeded. */
  take(amount: number): void {
    this.#left -= amount;
    if (this.#left >= 0) return;
    this.isExceeded = true;
    throw fail('exhausted', 'dockerfile', `the Dockerfile asks for too much: ${this.#what}`, {
      hint: 'Build it as several Dockerfiles, or use fewer variables, instructions and stages.',
    });
  }
}

/** The limits of one conversion. Sound Dockerfiles stay a hundred times below them. */
export interface Allowances {
  /** The variables that stages take over from their bases. */
  readonly inherited: Allowance;
  /** The characters in the histories of images. */
  readonly history: Allowance;
  /** The ports that EXPOSE lists. */
  readonly ports: Allowance;
  /** The ONBUILD triggers that stages take over from their bases. */
  readonly triggers: Allowance;
  /** The characters of the variables and hosts that RUNs are given. */
  readonly steps: Allowance;
}

/** The most characters of `steps` that are written at one go while other work waits. */
const fewSteps = 1 << 20;

/**
 * Makes the limits. `others` says that other work waits meanwhile, so that `steps` is enough for small Dockerfiles
 * alone.
 */
export function allowances(others: boolean): Allowances {
  return {
    inherited: new Allowance(2_000_000, 'its stages inherit millions of variables'),
    history: new Allowance(8 << 20, 'the history of its images is larger than 8 MiB'),
    ports: new Allowance(65_536, 'it exposes more than 65,536 ports'),
    steps: new Allowance(others ? fewSteps : 64 << 20, 'its RUNs are given more than 64 MiB of variables'),
    triggers: new Allowance(100_000, 'its stages inherit more than 100,000 ONBUILD triggers'),
  };
}
