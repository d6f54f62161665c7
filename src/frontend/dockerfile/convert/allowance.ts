import { fail } from '../../../errors/error.ts';

/** How much of something that a few lines can ask for without end one conversion may make. */
class Allowance {
  #left: number;
  readonly #what: string;

  constructor(left: number, what: string) {
    this.#left = left;
    this.#what = what;
  }

  /** Throws `exhausted`, hop `dockerfile`, when it is used up. */
  take(amount: number): void {
    this.#left -= amount;
    if (this.#left >= 0) return;
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
}

export function allowances(): Allowances {
  return {
    inherited: new Allowance(2_000_000, 'its stages inherit millions of variables'),
    history: new Allowance(8 << 20, 'the history of its images is larger than 8 MiB'),
    ports: new Allowance(65_536, 'it exposes more than 65,536 ports'),
    triggers: new Allowance(100_000, 'its stages inherit more than 100,000 ONBUILD triggers'),
  };
}
