/**
 * Keeps the facts of steps that have run, when which records were pruned, and what was told of builds. All of it is
 * bounded: the oldest goes first.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Digest } from '../oci/index.ts';
import type { UsedSum } from '../progress/index.ts';
import { type DatabaseName, openDatabase, prepare, type Statement, transaction } from '../store/index.ts';
import type { StepFacts } from './facts.ts';
import { placeOf } from './place.ts';

const schema = [
  `CREATE TABLE salt (salt TEXT NOT NULL);
   CREATE TABLE steps (
     id INTEGER PRIMARY KEY,
     scope TEXT NOT NULL,
     instruction TEXT NOT NULL,
     number TEXT,
     facts TEXT NOT NULL
   );
   CREATE INDEX steps_by_instruction ON steps (scope, instruction);
   CREATE INDEX steps_by_number ON steps (scope, number);
   CREATE TABLE pruned (record TEXT PRIMARY KEY, at INTEGER NOT NULL, rule TEXT NOT NULL);
   CREATE INDEX pruned_by_age ON pruned (at);
   CREATE TABLE told (
     id INTEGER PRIMARY KEY,
     build TEXT NOT NULL,
     at INTEGER NOT NULL,
     what TEXT NOT NULL,
     step TEXT NOT NULL,
     line TEXT NOT NULL
   );
   CREATE INDEX told_by_build ON told (build);`,
  'ALTER TABLE told ADD COLUMN used TEXT;',
  // Whose build it is, where builds are kept apart, and the facts of the step, for comparing builds.
  `ALTER TABLE told ADD COLUMN tenant TEXT;
   ALTER TABLE told ADD COLUMN facts TEXT;`,
  // How long the run took, in ms.
  'ALTER TABLE steps ADD COLUMN took INTEGER;',
];

/** Runs of one step that are kept. */
const keepRuns = 4;
const keepSteps = 8000;
const keepPruned = 20_000;
const keepTold = 20_000;
/** Of the latest of them, the facts are kept as well. */
const keepToldFacts = 8000;

/** What was told of a step. */
interface ToldStep {
  /** Its name, without passwords. */
  step: string;
  line: string;
  /** What it has used of the machine; missing when it has not ended, or nobody counts. */
  used?: UsedSum;
  /** Missing when it is long ago. */
  facts?: StepFacts;
}

/** A build of which something was told. */
export interface ToldBuild {
  id: string;
  /** ms since the epoch; when the first of it was told. */
  at: number;
  /** What was built, as its request says. */
  what: string;
  /** How many steps it ran. */
  steps: number;
  /** Set where it ran none: how many it has. */
  cached?: number;
}

export class ExplainDb {
  readonly #name: DatabaseName;
  readonly #db: DatabaseSync;
  readonly #get: Record<'instruction' | 'number' | 'took' | 'pruned' | 'told' | 'builds', Statement>;
  readonly #put: Record<'step' | 'older' | 'pruned' | 'unpruned' | 'told' | 'used', Statement>;
  /** Of this database alone. */
  readonly salt: string;

  /** Opens or makes `explain.db` in a folder. Several processes may have it open. */
  constructor(folder: string) {
    const name: DatabaseName = {
      hop: 'cache',
      name: 'the facts about steps',
      file: join(folder, 'explain.db'),
    };
    const db = openDatabase(name, schema);
    this.#name = name;
    this.#db = db;
    const query = (sql: string) => prepare(name, db, sql);
    this.#get = {
      instruction: query('SELECT facts FROM steps WHERE scope = ? AND instruction = ? ORDER BY id DESC'),
      number: query('SELECT facts FROM steps WHERE scope = ? AND number = ? ORDER BY id DESC LIMIT 1'),
      took: query(
        'SELECT instruction, number, took FROM steps WHERE scope = ? AND took IS NOT NULL ORDER BY id',
      ),
      pruned: query('SELECT at, rule FROM pruned WHERE record = ?'),
      told: query('SELECT step, line, used, facts FROM told WHERE build = ? ORDER BY id'),
      builds: query(
        `SELECT build, min(at) AS at, max(what) AS what, count(*) AS steps FROM told
         WHERE ?1 IS NULL OR tenant = ?1 GROUP BY build ORDER BY max(id) DESC LIMIT ?2`,
      ),
    };
    this.#put = {
      step: query('INSERT INTO steps (scope, instruction, number, facts, took) VALUES (?, ?, ?, ?, ?)'),
      older: query(
        `DELETE FROM steps WHERE scope = ?1 AND instruction = ?2 AND id NOT IN
           (SELECT id FROM steps WHERE scope = ?1 AND instruction = ?2 ORDER BY id DESC LIMIT ${keepRuns})`,
      ),
      pruned: query('INSERT OR REPLACE INTO pruned (record, at, rule) VALUES (?, ?, ?)'),
      unpruned: query('DELETE FROM pruned WHERE record = ?'),
      told: query(
        'INSERT INTO told (build, at, what, tenant, step, line, facts) VALUES (?, ?, ?, ?, ?, ?, ?)',
      ),
      used: query('UPDATE told SET used = ? WHERE id = ?'),
    };
    this.salt = this.#salt();
    this.#trim();
  }

  /** Runs of an instruction, latest first. `scope`: of what project of whom. */
  runsOf(scope: string, name: string): StepFacts[] {
    return this.#get.instruction.all(scope, placeOf(name).instruction).map(factsIn);
  }

  /** The latest run of the step that had the place of this one. */
  runAt(scope: string, name: string): StepFacts | undefined {
    const { number } = placeOf(name);
    return number === undefined ? undefined : this.#get.number.all(scope, number).map(factsIn)[0];
  }

  /** How long the steps of a project took when they ran last, in ms, by name: the step, or the one in its place. */
  tookIn(scope: string): (name: string) => number | undefined {
    const byInstruction = new Map<string, number>();
    const byNumber = new Map<string, number>();
    for (const { instruction, number, took } of this.#get.took.all(scope)) {
      byInstruction.set(String(instruction), Number(took));
      if (number !== null) byNumber.set(String(number), Number(took));
    }
    return (name) => {
      const { instruction, number } = placeOf(name);
      return byInstruction.get(instruction) ?? (number === undefined ? undefined : byNumber.get(number));
    };
  }

  /**
   * Notes that the record of a run is there (again), and keeps the run if it is known of what project it is. `took`: how
   * long it ran, in ms.
   */
  putRun(scope: string | undefined, facts: StepFacts, took: number): void {
    const { instruction, number } = placeOf(facts.name);
    transaction(this.#name, this.#db, () => {
      this.#put.unpruned.run(facts.record);
      if (scope === undefined) return;
      this.#put.step.run(scope, instruction, number ?? null, JSON.stringify(facts), Math.round(took));
      this.#put.older.run(scope, instruction);
    });
  }

  /** When a record was pruned, and why. */
  pruned(record: Digest): { at: number; rule: string } | undefined {
    const row = this.#get.pruned.get(record);
    return row && { at: Number(row.at), rule: String(row.rule) };
  }

  putPruned(records: readonly Digest[], rule: string): void {
    const at = Date.now();
    transaction(this.#name, this.#db, () => {
      for (const record of records) this.#put.pruned.run(record, at, rule);
    });
  }

  /** What was told of a build, in order. */
  told(build: string): ToldStep[] {
    return this.#get.told.all(build).map(({ step, line, used, facts }) => ({
      step: String(step),
      line: String(line),
      ...(used === null ? {} : { used: JSON.parse(String(used)) as UsedSum }),
      ...(facts === null ? {} : { facts: JSON.parse(String(facts)) as StepFacts }),
    }));
  }

  /** Builds of which something was told, latest first, so many at most; with a tenant, the tenant's alone. */
  builds(most: number, tenant?: string): ToldBuild[] {
    return this.#get.builds.all(tenant ?? null, most).map(({ build, at, what, steps }) => ({
      id: String(build),
      at: Number(at),
      what: String(what),
      steps: Number(steps),
    }));
  }

  /** Returns the row, for `putUsed`. */
  putTold(
    { id, what, tenant }: { id: string; what: string; tenant: string | undefined },
    { step, line, facts }: Pick<ToldStep, 'step' | 'line' | 'facts'>,
  ): number {
    const kept = facts === undefined ? null : JSON.stringify(facts);
    return Number(this.#put.told.run(id, Date.now(), what, tenant ?? null, step, line, kept).lastInsertRowid);
  }

  /** Notes what the step of a row has used. */
  putUsed(row: number, used: UsedSum): void {
    this.#put.used.run(JSON.stringify(used), row);
  }

  close(): void {
    this.#db.close();
  }

  #salt(): string {
    const read = prepare(this.#name, this.#db, 'SELECT salt FROM salt');
    const write = prepare(this.#name, this.#db, 'INSERT INTO salt VALUES (?)');
    return transaction(this.#name, this.#db, () => {
      const known = read.get()?.salt;
      if (known !== undefined) return String(known);
      const made = randomBytes(16).toString('hex');
      write.run(made);
      return made;
    });
  }

  #trim(): void {
    transaction(this.#name, this.#db, () => {
      this.#db.exec(`
        DELETE FROM steps WHERE id <= (SELECT max(id) FROM steps) - ${keepSteps};
        DELETE FROM told WHERE id <= (SELECT max(id) FROM told) - ${keepTold};
        UPDATE told SET facts = NULL
          WHERE facts IS NOT NULL AND id <= (SELECT max(id) FROM told) - ${keepToldFacts};
        DELETE FROM pruned WHERE record IN
          (SELECT record FROM pruned ORDER BY at DESC LIMIT -1 OFFSET ${keepPruned});`);
    });
  }
}

function factsIn(row: Record<string, unknown>): StepFacts {
  return JSON.parse(String(row.facts)) as StepFacts;
}
