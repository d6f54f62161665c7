import { fail } from '../../../errors/index.ts';

/** How much of something that a few lines can ask for without end one conversion may make. */
class Allowance {
  #left: number;
  /** Whether more was asked for than there is. */
  isExceeded = false;
  readonly #what: string;

  constructor(left: number, what: string) {
    this.#left = left;
    this.#what = what;
  }

  /** Throws `exhausted`, hop `dockerfile`, when it is used up. */
  take(amount: number): void {
    this.#left -= amount;
    if (this.#left >= 0) return;
    this.isExceeded = true;
    throw fail('exhausted', 'dockerfile', `the Dockerfile asks for too much: ${this.#what}`, {
      hint: 'Build it as several Dockerfiles, or use fewer variables, instructions and stages.',
    });
  }
}

/** What one conversion may make in all; sound Dockerfiles are a hundred times below. */
export interface Allowances {
  /** Variables that stages take over from their bases. */
  readonly inherited: Allowance;
  /** Characters in images' histories. */
  readonly history: Allowance;
  /** Ports that EXPOSE lists. */
  readonly ports: Allowance;
  /** ONBUILD triggers that stages take over from their bases. */
  readonly triggers: Allowance;
  /** Characters of the variables and hosts that RUNs are given. */
  readonly steps: Allowance;
}

/** Characters of `steps` that are written at one go while others wait. */
const fewSteps = 1 << 20;

/** `others`: others wait meanwhile, so that `steps` is for small Dockerfiles alone. */
export function allowances(others: boolean): Allowances {
  return {
    inherited: new Allowance(2_000_000, 'its stages inherit millions of variables'),
    history: new Allowance(8 << 20, 'the history of its images is larger than 8 MiB'),
    ports: new Allowance(65_536, 'it exposes more than 65,536 ports'),
    steps: new Allowance(others ? fewSteps : 64 << 20, 'its RUNs are given more than 64 MiB of variables'),
    triggers: new Allowance(100_000, 'its stages inherit more than 100,000 ONBUILD triggers'),
  };
}
