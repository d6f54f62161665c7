/** What is told of builds afterwards: which there were, why the steps of one ran, and what differs between two. */
import { fail } from '../errors/index.ts';
import { runTask } from '../workers/index.ts';
import { cachedBuilds } from './cached-builds.ts';
import { ExplainDb, type ToldBuild } from './explain-db.ts';
import type { StepFacts } from './facts.ts';
import { named } from './file-names.ts';
import { placeOf } from './place.ts';
import { type ChangedStep, differences, type Reason } from './reasons.ts';
import { usedText } from './used.ts';
import { mostFiles, textOf } from './words.ts';

/** Builds that a list has. */
const mostListed = 50;

/** What is told of one build, or of two. */
export interface Report {
  builds: ToldBuild[];
  steps: { step: string; lines: string[] }[];
}

type Told = ReturnType<ExplainDb['told']>[number];

/** Where the facts are (`explain.db` in a folder, and the lists of files), and whose builds are looked at. */
interface Place {
  folder: string;
  listDb: string;
  /** Where builds are kept apart, the tenant whose builds are looked at; undefined: all. */
  tenant?: string;
}

/** The builds of which something is known, latest first. */
export function listedBuilds({ folder, tenant }: Place): ToldBuild[] {
  const ran = withDb(folder, (db) => db.builds(mostListed, tenant));
  return [...ran, ...cachedBuilds(folder, tenant).map(asTold)]
    .sort((a, b) => b.at - a.at)
    .slice(0, mostListed);
}

/** What is told of a build that ran no step. */
function asTold({ id, at, what, cached }: ReturnType<typeof cachedBuilds>[number]): ToldBuild {
  return { id, at, what, steps: 0, cached };
}

/**
 * Why the steps of a build ran; of the latest build when none is named. A build may have run none. Builds are named by the beginning of their ID.
 * Throws `not-found`.
 */
export function buildReport({ folder, tenant }: Place, wanted?: string): Report {
  return withDb(folder, (db) => {
    const build = buildOf(db, { folder, tenant }, wanted);
    const steps = db.told(build.id).map(({ step, line, used }) => ({
      step,
      lines: [line, ...(used === undefined ? [] : [usedText(used)])],
    }));
    return { builds: [build], steps };
  });
}

/** What differs between the steps of two builds. Throws `not-found`. */
export async function comparedBuilds(place: Place, first: string, second: string): Promise<Report> {
  const { builds, told } = withDb(place.folder, (db) => {
    const found = [first, second].map((wanted) => buildOf(db, place, wanted)) as [ToldBuild, ToldBuild];
    return { builds: found, told: found.map(({ id }) => db.told(id)) as [Told[], Told[]] };
  });
  const [before, after] = told;
  const partners = new Map(after.map((step) => [step, partnerOf(step, before)]));
  const same = new Set<string>();
  // Steps come after those that they are made of.
  for (const step of after) if (isSame(partners.get(step)?.facts, step.facts, same)) same.add(step.step);
  const steps: Report['steps'] = [];
  for (const step of after) {
    const partner = partners.get(step);
    const line =
      partner === undefined
        ? `ran only in the second build: ${step.line}`
        : same.has(step.step)
          ? 'ran in both, and is the same step on the same inputs'
          : await differenceOf(partner, step, { same, partners }, place.listDb);
    steps.push({ step: step.step, lines: [line] });
  }
  const matched = new Set(partners.values());
  for (const step of before) {
    if (!matched.has(step))
      steps.push({ step: step.step, lines: [`ran only in the first build: ${step.line}`] });
  }
  return { builds: [...builds], steps };
}

/** Whether a step was the same one on the same inputs; `same`: the names of steps below of which that is so. */
function isSame(
  before: StepFacts | undefined,
  after: StepFacts | undefined,
  same: ReadonlySet<string>,
): boolean {
  if (before === undefined || after === undefined) return false;
  if (before.record === after.record) return true;
  if (before.op !== after.op || before.inputs.length !== after.inputs.length) return false;
  return after.inputs.every(({ name, id, content }, i) => {
    const old = before.inputs[i];
    return old?.id === id || (content !== undefined && old?.content === content) || same.has(name);
  });
}

/** What differs between two runs of a step, in words. */
async function differenceOf(
  before: Told,
  after: Told,
  { same, partners }: { same: ReadonlySet<string>; partners: ReadonlyMap<Told, Told | undefined> },
  listDb: string,
): Promise<string> {
  if (before.facts === undefined || after.facts === undefined)
    return 'ran in both; what it was then is not kept any more';
  const facts = after.facts;
  const below = facts.inputs.map(({ name }): ChangedStep | undefined => {
    const lower = [...partners].find(([{ step }]) => step === name);
    if (lower === undefined || same.has(name)) return undefined;
    // Without a partner it was cached in the first build, or is no step of it.
    return { name, how: lower[1] === undefined ? 'anew' : 'changed' };
  });
  const reasons = differences(before.facts, facts, below);
  await Promise.all(reasons.map((reason) => nameFiles(reason, listDb)));
  const text = textOf(reasons, Date.now());
  return text === '' ? 'ran in both; nothing is known to differ' : text;
}

/** Finds out which files differ, where their lists are kept. */
async function nameFiles(reason: Reason, listDb: string): Promise<void> {
  if (reason.kind !== 'files') return;
  const { now, before } = reason;
  const [tree] = await runTask('fs.compare', { listDb, now, before: [before], most: mostFiles }).catch(
    () => [],
  );
  if (tree === undefined) return;
  const bases = reason.from.bases ?? [];
  reason.tree = { ...tree, changes: tree.changes.map((change) => named(change, bases)) };
}

/** The step of another build that is this one: the same instruction, else the one in its place. */
function partnerOf({ step }: Told, others: readonly Told[]): Told | undefined {
  const { instruction, number, text } = placeOf(step);
  const verb = text.split(' ', 1)[0];
  return (
    others.find((other) => placeOf(other.step).instruction === instruction) ??
    others.find((other) => {
      const place = placeOf(other.step);
      return number !== undefined && place.number === number && place.text.split(' ', 1)[0] === verb;
    })
  );
}

/** The latest build of all, or the latest whose ID begins so. */
function buildOf(
  db: ExplainDb,
  { folder, tenant }: Pick<Place, 'folder' | 'tenant'>,
  wanted: string | undefined,
): ToldBuild {
  const isWanted = ({ id }: ToldBuild) => id.startsWith(wanted ?? '');
  const ran = db.builds(wanted === undefined ? 1 : Number.MAX_SAFE_INTEGER, tenant).find(isWanted);
  const cached = cachedBuilds(folder, tenant).find(isWanted);
  if (cached !== undefined && (ran === undefined || cached.at > ran.at)) return asTold(cached);
  if (ran !== undefined) return ran;
  const message = wanted === undefined ? 'no build is known here yet' : `there is no build ${wanted}`;
  throw fail('not-found', 'client', message, {
    hint: '`drydock explain --list` shows the builds that are known.',
  });
}

function withDb<T>(folder: string, work: (db: ExplainDb) => T): T {
  const db = new ExplainDb(folder);
  try {
    return work(db);
  } finally {
    db.close();
  }
}
