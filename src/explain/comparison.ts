/** Compares a step that runs with its earlier runs, keeps what is known of them, and says in words why it was not cached. */

import { existsSync } from 'node:fs';
import { dropLists } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';
import { type StepUsage, usedSum } from '../progress/index.ts';
import { keptName, type Miss, type MissBuild, type MissTeller } from '../solver/index.ts';
import { runTask } from '../workers/index.ts';
import { ExplainDb } from './explain-db.ts';
import { factsOf, type StepFacts } from './facts.ts';
import { baseOf, named } from './file-names.ts';
import { placeOf } from './place.ts';
import { type ChangedStep, differences, distance, howItChanged, type Reason } from './reasons.ts';
import { type ExpectedTimes, timesText } from './times.ts';
import { timesToEnd } from './to-end.ts';
import { lineOf, mostFiles } from './words.ts';

/** The times of builds with more vertices are not looked at. */
const mostVertices = 5000;

/** What was found out of a step that runs. */
interface Found {
  facts: StepFacts;
  /** Of what project of whom it is; undefined: that is not known, so there is nothing to compare it with. */
  scope: string | undefined;
}

interface Expected {
  tookBefore: (name: string) => number | undefined;
  of: number;
  toEnd: ReadonlyMap<Digest, number>;
}

/** Tells why steps run, out of what is kept of earlier runs. It is loaded with the first step that runs. */
export class Comparison implements Omit<MissTeller, 'allCached'> {
  readonly #folder: string;
  readonly #listDb: string;
  #db: ExplainDb | undefined;
  readonly #found = new WeakMap<Miss, Promise<Found>>();
  /** The rows of what was told of steps. */
  readonly #rows = new WeakMap<Miss, number>();
  readonly #told = new WeakMap<Miss, readonly Reason[]>();
  /** How long the steps of a build took before, and how long it is from each to the end of so many vertices. */
  readonly #expected = new WeakMap<MissBuild, Expected>();

  /** `folder`: where `explain.db` is. `listDb`: the file with the lists of files. */
  constructor(folder: string, listDb: string) {
    this.#folder = folder;
    this.#listDb = listDb;
  }

  async why(miss: Miss): Promise<string | undefined> {
    try {
      const found = this.#find(miss);
      this.#found.set(miss, found);
      const { facts } = await found;
      const reasons = await this.#reasons(miss, await found);
      this.#told.set(miss, reasons);
      const line = lineOf(reasons, Date.now());
      this.#rows.set(miss, this.#open().putTold(miss.build, { step: facts.name, line, facts }));
      const isNew = reasons.some(({ kind }) => kind === 'never');
      return isNew ? line : line + timesText(this.#times(miss, await found));
    } catch {
      // A database that cannot be used is no reason to fail a build, and nothing is said rather than something wrong.
      return undefined;
    }
  }

  used(miss: Miss, usage: StepUsage): void {
    const row = this.#rows.get(miss);
    const used = usedSum(usage);
    if (row === undefined || Object.keys(used).length === 0) return;
    try {
      this.#open().putUsed(row, used);
    } catch {
      // Nothing is told of it.
    }
  }

  recorded(miss: Miss, took: number): void {
    const keep = async () => {
      const found = await this.#found.get(miss);
      if (found !== undefined) this.#open().putRun(found.scope, found.facts, took);
    };
    keep().catch(() => {});
  }

  /**
   * Notes that records are pruned. `rule`: by what, as `a prune of everything`. `everything`: nothing was to stay, so
   * that the lists of files go as well. Never throws.
   */
  pruned(records: readonly Digest[], rule: string, everything: boolean): void {
    try {
      if (everything && existsSync(this.#listDb)) dropLists(this.#listDb);
      if (records.length > 0) this.#open().putPruned(records, rule);
    } catch {
      // The steps will be told as not found.
    }
  }

  close(): void {
    this.#db?.close();
    this.#db = undefined;
  }

  #open(): ExplainDb {
    this.#db ??= new ExplainDb(this.#folder);
    return this.#db;
  }

  async #find(miss: Miss): Promise<Found> {
    const { tenant } = miss.build;
    const project = await miss.build.project();
    const scope = project && JSON.stringify([tenant ?? '', project]);
    return { facts: factsOf(miss, this.#open().salt), scope };
  }

  /** How long the step and all that comes after it will take. The graph of a build may grow while it runs. */
  #times({ build, vertex }: Miss, { scope, facts }: Found): ExpectedTimes {
    const size = build.size();
    if (scope === undefined || size > mostVertices) return { took: 0, toEnd: 0 };
    let expected = this.#expected.get(build);
    if (expected?.of !== size) {
      const tookBefore = expected?.tookBefore ?? this.#open().tookIn(scope);
      expected = { tookBefore, of: size, toEnd: timesToEnd(build.vertices(), tookBefore) };
      this.#expected.set(build, expected);
    }
    return {
      took: expected.tookBefore(facts.name) ?? 0,
      toEnd: expected.toEnd.get(vertex.digest) ?? 0,
    };
  }

  async #reasons(miss: Miss, found: Found): Promise<Reason[]> {
    if (miss.isIgnored) return [{ kind: 'ignored' }];
    const imports = importReasons(miss);
    const { facts, scope } = found;
    const runs = scope === undefined ? [] : this.#runs(miss, facts, scope);
    const pruned = this.#open().pruned(miss.id);
    // Of what others have built, and when it was pruned, tenants hear nothing.
    const isOwn = miss.build.tenant === undefined || runs.some(({ record }) => record === miss.id);
    if (pruned !== undefined && isOwn) return [{ kind: 'pruned', ...pruned }, ...imports];
    if (scope === undefined) return imports.length > 0 ? imports : [{ kind: 'unknown' }];
    if (runs.length === 0) return [{ kind: 'never' }, ...imports];
    const { run, reasons } = await this.#nearest(miss, facts, runs);
    if (reasons.length > 0 || imports.length > 0) return [...reasons, ...imports];
    // It may have been recorded under another one of its names.
    const gone = this.#open().pruned(run.record);
    return [gone === undefined ? { kind: 'unknown' } : { kind: 'pruned', ...gone }];
  }

  /** Earlier runs of the step: of the instruction, or else of the one that stood in its place and is no more. */
  #runs(miss: Miss, facts: StepFacts, scope: string): StepFacts[] {
    const db = this.#open();
    const runs = db.runsOf(scope, facts.name);
    if (runs.length > 0) return runs;
    const there = db.runAt(scope, facts.name);
    if (there === undefined) return [];
    const steps = new Set(miss.build.vertices().map(({ name }) => placeOf(name).instruction));
    const [was, is] = [placeOf(there.name), placeOf(facts.name)];
    return steps.has(was.instruction) || verbOf(was.text) !== verbOf(is.text) ? [] : [there];
  }

  /** The earlier run that differs least, the latest of several, and what differs. */
  async #nearest(
    miss: Miss,
    facts: StepFacts,
    runs: readonly StepFacts[],
  ): Promise<{ run: StepFacts; reasons: Reason[] }> {
    const changed = miss.inputs.map((input) => input.miss && this.#changedStep(input.miss));
    const all = runs.map((run) => ({ run, reasons: differences(run, facts, changed) }));
    const reasons = all.flatMap((each) => each.reasons);
    await Promise.all(miss.inputs.map((_, i) => this.#compareFiles(miss, i, reasons)));
    return all.reduce((best, next) => (distance(next.reasons) < distance(best.reasons) ? next : best));
  }

  /** Finds what has changed in the files of an input. */
  async #compareFiles(miss: Miss, input: number, reasons: readonly Reason[]): Promise<void> {
    const mine = reasons.filter((reason) => reason.kind === 'files' && reason.input === input);
    const files = mine.filter((reason) => reason.kind === 'files');
    const [first] = files;
    if (first === undefined) return;
    const before = files.map((reason) => reason.before);
    const trees = await runTask('fs.compare', {
      listDb: this.#listDb,
      now: first.now,
      before,
      most: mostFiles,
    });
    const bases = (miss.inputs[input]?.selectors ?? []).map(baseOf);
    for (const [i, tree] of trees.entries()) {
      const reason = files[i];
      if (reason === undefined || tree === undefined) continue;
      reason.tree = { ...tree, changes: tree.changes.map((change) => named(change, bases)) };
    }
  }

  /** The lowest step that made a step another one: the first that had a reason of its own. */
  #changedStep(miss: Miss): ChangedStep {
    const reasons = this.#told.get(miss) ?? [];
    const [first] = reasons;
    if (first?.kind === 'step') return { name: first.name, how: first.how };
    return { name: keptName(miss.vertex), how: howItChanged(reasons) };
  }
}

function importReasons({ foreign, build }: Miss): Reason[] {
  return [
    ...foreign.map(
      ({ name, hasResult }): Reason => ({
        kind: 'import',
        name,
        how: hasResult ? 'gone' : 'no-result',
      }),
    ),
    ...build.failedImports.map((name): Reason => ({ kind: 'import', name, how: 'unread' })),
  ];
}

/** `RUN` of `RUN make`. */
function verbOf(text: string): string {
  return text.split(' ', 1)[0] ?? '';
}
