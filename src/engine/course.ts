/** The course that every build takes, whoever asks for it: a job and a lease, the work, the exports, and letting go. */
import { fail, throwIfAborted } from '../errors/error.ts';
import { parseImageAttrs } from '../exporter/attrs.ts';
import { basesOf } from '../exporter/bases.ts';
import { createExporter } from '../exporter/exporters.ts';
import type { Bases, ExportResponse, PlatformResult, StoredOutput } from '../exporter/types.ts';
import { normalizeName } from '../oci/reference.ts';
import type { Descriptor } from '../oci/types.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import type { ProgressSink } from '../progress/events.ts';
import type { CacheSpec } from '../remote-cache/types.ts';
import type { Session } from '../session/types.ts';
import { Job } from '../solver/job.ts';
import { dropLeftovers } from '../solver/leftovers.ts';
import { explainDisk } from '../store/shared/disk-full.ts';
import type { Store } from '../store/store.ts';
import { BuildCaches, planCaches } from './caches.ts';
import type { Engine } from './engine.ts';
import { beginBuild, endBuild } from './lifetime.ts';
import { type OutputMetadata, withMetadata } from './output-metadata.ts';
import type { OutputSpec } from './types.ts';

export interface Course<T> {
  outputs: readonly OutputSpec[];
  /** Names of the outputs that have none of their own. */
  tags: readonly string[];
  /** s since 1970 */
  sourceDateEpoch?: number;
  /** Caches to look steps up in, and to write. */
  cacheFrom: readonly CacheSpec[];
  cacheTo: readonly CacheSpec[];
  /** Images have docker's media types unless an output says otherwise. */
  dockerTypes?: boolean;
  /** Images of nothing but a changed config are of the time of their making. */
  madeNow?: boolean;
  /** Entitlements granted. */
  allow: readonly string[];
  session: Session;
  sink: ProgressSink;
  signal: AbortSignal;
  /** Makes what is to be exported, under the lease. */
  work(job: Job, lease: string, caches: BuildCaches): Promise<Worked<T>>;
  /** Outputs that are chosen once the work is done; they come after the others. */
  furtherOutputs?(value: T): Promise<readonly OutputSpec[]>;
  /** Told of the exporters' responses when all is exported; what it throws fails the build. */
  exported?(value: T, metadata: Record<string, unknown>): Promise<void>;
}

export interface Worked<T> {
  value: T;
  /** What is exported; nothing when undefined. */
  results?: PlatformResult[];
  /** By result: what it was made of. */
  definitions?: readonly (Definition | undefined)[];
  /** What the work itself annotates the image with, as outputs' attributes do. */
  annotations?: Readonly<Record<string, string>>;
  /** s since 1970: what the work itself dates the results by, where the build says nothing. */
  epoch?: number;
  /** The results are a list, also when there is one. */
  isList?: boolean;
  /** What the work itself names the image; for outputs that are named `*`. */
  names?: readonly string[];
  /** The results as an output's metadata describes them. */
  described?(metadata: OutputMetadata): Promise<PlatformResult[]>;
}

export interface CourseEnd<T> {
  value: T;
  /** Of the first output. */
  first: ExportResponse | undefined;
  /** What outputs that make images made, by their place among the outputs. */
  descriptors: ReadonlyMap<number, Descriptor>;
  /** The manifests, configs and indexes of those. */
  documents: readonly Buffer[];
  /** What outputs have put into the store. */
  stored: readonly StoredOutput[];
  /** All exporters' responses, merged: `containerimage.digest` … */
  metadata: Record<string, unknown>;
}

/**
 * Takes a build through its course. Whatever happens, everything of it has stopped and is let go of in the end. Mistakes
 * in the outputs are said before any work is done.
 */
export async function takeCourse<T>(engine: Engine, course: Course<T>): Promise<CourseEnd<T>> {
  requireRoot();
  const { session, sink, dockerTypes } = course;
  const chosen = openOutputs(course.outputs);
  const plan = planCaches(course.cacheTo);
  const job = new Job(session, sink, course.signal, course.allow);
  const lease = await beginBuild(engine, job);
  const caches = new BuildCaches(engine, job, lease);
  try {
    caches.import(course.cacheFrom);
    const { value, results, definitions = [], ...worked } = await course.work(job, lease, caches);
    const metadata: Record<string, unknown> = {};
    const descriptors = new Map<number, Descriptor>();
    const documents: Buffer[] = [];
    const stored: StoredOutput[] = [];
    let first: ExportResponse | undefined;
    if (results === undefined) return { value, first, metadata, descriptors, documents, stored };
    let found: Promise<Bases> | undefined;
    const bases = () => (found ??= engine.solver.images(job).then(basesOf));
    if (plan.inline) caches.inline(results, definitions);
    const further = (await course.furtherOutputs?.(value)) ?? [];
    const exporters = [...chosen, ...openOutputs(further, course.outputs.length)];
    for (const { output, index, attrs, given, exporter } of exporters) {
      throwIfAborted(job.signal);
      const described = given === undefined ? undefined : await worked.described?.(given);
      if (plan.inline && described !== undefined) caches.inline(described, definitions);
      const names = namesOf(
        { ...output, attrs },
        attrs.name === '*' ? (worked.names ?? []) : course.tags,
        engine.store,
      );
      const { annotations, isList, epoch } = worked;
      const sourceDateEpoch = course.sourceDateEpoch ?? epoch;
      const request = {
        ...{ results: described ?? results, attrs, names, sourceDateEpoch, dockerTypes, annotations },
        index: isList,
        madeNow: course.madeNow,
        cacheCompression: plan.wants[0]?.compression,
      };
      const response = await job.inVertex(exporter.title, (progress) =>
        exporter.export(request, {
          store: engine.store,
          registry: engine.registry,
          session,
          progress,
          signal: job.signal,
          lease,
          sink: output.sink,
          forgetsReplaced: output.forgetsReplaced,
          trusting: (ref) => caches.registryFor(ref, true).registry,
          bases,
        }),
      );
      first ??= response;
      if (response.descriptor !== undefined) descriptors.set(index, response.descriptor);
      documents.push(...(response.documents ?? []));
      if (response.stored !== undefined) stored.push(response.stored);
      Object.assign(metadata, response.metadata);
    }
    Object.assign(metadata, await caches.export(plan, results, definitions, bases));
    await course.exported?.(value, metadata);
    return { value, first, metadata, descriptors, documents, stored };
  } catch (err) {
    await dropLeftovers(err, engine.store);
    throw await explainDisk(err, engine.store);
  } finally {
    await endBuild(engine, job, lease, () => caches.close());
  }
}

/** Outputs and the exporters that make them; `first` is the place of the first among all outputs. */
function openOutputs(outputs: readonly OutputSpec[], first = 0) {
  return outputs.flatMap((output, i) => {
    if (output.type === 'cacheonly') return [];
    const { attrs, metadata } = withMetadata(output.attrs);
    const exporter = createExporter(output.type, attrs);
    return [{ output, index: first + i, attrs, given: metadata, exporter }];
  });
}

/** Files of a build have all kinds of owners, and steps run in containers that root makes. */
function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw fail('denied', 'host', 'building needs root for now', {
    hint: 'Run drydock with sudo. `drydock doctor` says what else is needed.',
  });
}

/** Most names of one output: each is put into the store, told as an event and pushed. */
const maxNames = 1024;

/**
 * The names of an output: its own `name` attribute (comma-separated), else the build's tags. Throws `invalid` for more
 * than an output may have.
 */
function namesOf(
  { type, attrs, forgetsReplaced }: OutputSpec,
  tags: readonly string[],
  { shared }: Pick<Store, 'shared'>,
): string[] {
  const own = (attrs.name ?? '').split(',').filter((name) => name !== '' && name !== '*');
  const count = own.length || tags.length;
  if (count > maxNames) {
    throw fail('invalid', 'export', `an output has at most ${maxNames} names, not ${count}`, {
      hint: 'Tag the image with the others afterwards.',
    });
  }
  if (own.length === 0) return [...new Set(tags.map(normalizeName))];
  // As with buildkitd: an image in a containerd that goes to no registry may have any name.
  const isFree = shared && type === 'image' && forgetsReplaced === true && !parseImageAttrs(type, attrs).push;
  return [...new Set(own.map((name) => (isFree ? nameInContainerd(name) : normalizeName(name))))];
}

function nameInContainerd(name: string): string {
  try {
    return normalizeName(name);
  } catch {
    return name;
  }
}
