/** Runs scenarios on several contenders, interleaved, and says how they compare. */
import { type Bench, progress } from '../bench.ts';
import { median, type Sample } from './measure.ts';
import { megabytes, ratio, seconds, table } from './table.ts';

export interface Scenario<C> {
  name: string;
  /** Gets ready for one run, untimed. */
  prepare(contender: C, run: number): void | Promise<void>;
  /** Undefined: this contender cannot. */
  run(contender: C): Promise<Sample> | undefined;
}

/** The samples of every scenario by the contender's name; scenarios that the bench leaves out are not there. */
export type Results = Map<string, Map<string, Sample[]>>;

/** Each scenario's runs, all contenders one after the other in each. */
export async function compare<C extends { readonly name: string }>(
  bench: Bench,
  contenders: readonly C[],
  scenarios: readonly Scenario<C>[],
): Promise<Results> {
  const results: Results = new Map();
  for (const scenario of scenarios) {
    if (bench.only !== undefined && !scenario.name.includes(bench.only)) continue;
    const samples = new Map<string, Sample[]>();
    results.set(scenario.name, samples);
    for (let run = 0; run < bench.runs; run++) {
      for (const contender of contenders) {
        const sample = await attempt(scenario, contender, run);
        if (sample === undefined) continue;
        samples.set(contender.name, [...(samples.get(contender.name) ?? []), sample]);
        progress(
          `${scenario.name}: ${contender.name} ${seconds(sample.seconds)}, CPU ${seconds(sample.cpu)}`,
        );
      }
    }
  }
  return results;
}

/** One run; undefined when the contender cannot, or fails, which is told. */
async function attempt<C extends { readonly name: string }>(
  scenario: Scenario<C>,
  contender: C,
  run: number,
): Promise<Sample | undefined> {
  try {
    await scenario.prepare(contender, run);
    return await scenario.run(contender);
  } catch (err) {
    progress(`${scenario.name}: ${contender.name} FAILED: ${(err as Error).message}`);
    return undefined;
  }
}

/**
 * Medians of time and processor time, with each of ours beside the best of the others, and peaks of memory.
 * `servers`: also the processor time of the servers alone. Empty without results.
 */
export function comparison(
  results: Results,
  { ours, peers, servers }: { ours: readonly string[]; peers: readonly string[]; servers?: boolean },
): string {
  if (results.size === 0) return '';
  const names = [...peers, ...ours];
  const times: string[][] = [];
  const costs: string[][] = [];
  const alone: string[][] = [];
  for (const [scenario, samples] of results) {
    const of = (name: string, pick: (sample: Sample) => number) => {
      const list = samples.get(name);
      return list === undefined ? undefined : median(list.map(pick));
    };
    const row = (pick: (sample: Sample) => number) => {
      const best = peers.flatMap((name) => of(name, pick) ?? []);
      const peer = best.length === 0 ? undefined : Math.min(...best);
      return [
        ...names.map((name) => seconds(of(name, pick))),
        ...ours.map((name) => ratio(of(name, pick), peer)),
      ];
    };
    times.push([scenario, ...row((sample) => sample.seconds)]);
    const peaks = names.map((name) => {
      const list = samples.get(name);
      return megabytes(list === undefined ? undefined : Math.max(...list.map((sample) => sample.peak)));
    });
    costs.push([scenario, ...row((sample) => sample.cpu), ...peaks]);
    alone.push([scenario, ...row((sample) => sample.servers ?? Number.NaN)]);
  }
  const by = ours.map((name) => `${name} ÷ ${peers.length > 1 ? 'best' : (peers[0] ?? '')}`);
  return [
    table(['time', ...names, ...by], times),
    table(['CPU', ...names, ...by, ...names.map((name) => `${name}: most memory`)], costs),
    ...(servers === true ? [table(['CPU of the daemon alone', ...names, ...by], alone)] : []),
  ].join('\n\n');
}
