/** The foreign caches that one build reads and writes. Most builds have none, and load nothing of them. */
import { DrydockError, fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import type { Bases, ExportContext, PlatformResult } from '../exporter/index.ts';
import { Meeting } from '../flow/index.ts';
import type { Graph } from '../llb/index.ts';
import { type Digest, parseReference } from '../oci/index.ts';
import { cacheMountOwner } from '../ops/index.ts';
import type { VertexProgress } from '../progress/index.ts';
import { createRefs } from '../refs/index.ts';
import { endpointOf } from '../registry/index.ts';
import type { BuildMounts, CacheRegistry, CacheSpec, ExportWant, TracedTree } from '../remote-cache/index.ts';
import type { ForeignMount, Job } from '../solver/index.ts';
import type { Ref } from '../store/index.ts';
import type { Engine } from './engine.ts';

/** The caches that a build is to write, read and checked. */
export interface CachePlan {
  wants: readonly ExportWant[];
  inline: boolean;
  /** The caches that cannot be written and may be left out, a sentence for each. */
  notes: readonly string[];
}

/**
 * Reads which caches a build is to write. Throws `invalid` or `unsupported` (hop `cache`) for one that cannot be
 * written, unless that one's errors are to be ignored.
 */
export async function planCaches(specs: readonly CacheSpec[]): Promise<CachePlan> {
  if (specs.length === 0) return { wants: [], inline: false, notes: [] };
  const { ignoresError, isIdle, parseExport } = await import('../remote-cache/attrs.ts');
  const notes: string[] = [];
  const wants = specs.flatMap((spec) => {
    try {
      return [parseExport(spec)];
    } catch (err) {
      if (!ignoresError(spec) && !isIdle(spec)) throw err;
      notes.push(`exporting cache: ${toDrydockError(err).message}; the build goes on without it`);
      return [];
    }
  });
  return {
    wants: wants.filter(({ place }) => place !== undefined),
    inline: wants.some(({ place }) => place === undefined),
    notes,
  };
}

/** The foreign caches of one build. They are made with the build and closed at its end. */
export class BuildCaches {
  readonly #engine: Engine;
  readonly #job: Job;
  readonly #lease: string;
  /** Clients of registries that are trusted, whatever they show, for these caches alone; by host. */
  readonly #insecure = new Map<string, CacheRegistry>();

  readonly #atEnd: (() => void)[] = [];

  constructor(engine: Engine, job: Job, lease: string) {
    this.#engine = engine;
    this.#job = job;
    this.#lease = lease;
  }

  /**
   * Starts to read caches. The build's steps are looked up in them as soon as they are read. Waits for the cache mounts
   * that are to be brought back first. Throws `invalid` for too many of them.
   */
  async import(specs: readonly CacheSpec[]): Promise<void> {
    if (specs.length === 0) return;
    const { importCaches } = await import('../remote-cache/import.ts');
    await importCaches(specs, {
      store: this.#engine.store,
      job: this.#job,
      lease: this.#lease,
      registryFor: (ref, insecure) => this.registryFor(ref, insecure),
      restoreMounts: (mounts, progress) => this.#restoreMounts(mounts, progress),
      mayUse: this.#engine.mayUseBucket,
      atEnd: (close) => this.#atEnd.push(close),
    });
  }

  /** The cache mounts that the build may write. */
  async #mounts(): Promise<BuildMounts> {
    const { session, about, imports } = this.#job;
    const caches = (await Promise.all(imports)).flat();
    return {
      caches: this.#engine.kept.cacheMounts,
      owner: cacheMountOwner(session),
      used: about.usedCaches,
      foreign: caches.flatMap(({ mounts = [] }) => mounts),
    };
  }

  /** Brings cache mounts in the place of the owner's own, one that is in use excepted. */
  async #restoreMounts(mounts: readonly ForeignMount[], progress: VertexProgress): Promise<void> {
    const { store, kept } = this.#engine;
    const { session, signal } = this.#job;
    const { bringMount } = await import('../cache-mounts/bring.ts');
    const report: VertexProgress['report'] = (id, state) => progress.report(id, state);
    const credentials = (host: string) => session.credentials(host);
    const ctx = { signal, lease: this.#lease, report, credentials, replace: true };
    for (const mount of mounts) {
      const key = { key: mount.key, owner: cacheMountOwner(session) };
      if (await bringMount(store, kept.cacheMounts, key, mount, ctx)) continue;
      throw fail('conflict', 'cache', `the cache mount ${mount.key} is in use by a step`, {
        hint: 'Try again when no build runs that has it.',
      });
    }
  }

  /**
   * The cache of the steps of one result, as it is kept inside the image's config. `diffIds` are the image's layers.
   * Undefined when none of the steps made one of those layers.
   */
  async inline(
    ref: Ref | undefined,
    graph: Graph | undefined,
    diffIds: readonly Digest[],
  ): Promise<Buffer | undefined> {
    const built = await this.#built(ref, graph);
    return built && (await import('../remote-cache/export.ts')).inlineCache(built, diffIds);
  }

  /**
   * Writes the planned caches and returns the answers for the client. Throws an error of writing, unless that cache's
   * errors are to be ignored; then it is a warning.
   */
  async export(
    { wants, notes }: CachePlan,
    results: readonly PlatformResult[],
    graphs: readonly (Graph | undefined)[],
    bases: () => Promise<Bases>,
  ): Promise<Record<string, string>> {
    const { store, registry } = this.#engine;
    const { session, signal } = this.#job;
    if (notes.length > 0) {
      await this.#job.inVertex('exporting cache', async (progress) => {
        for (const short of notes) progress.warn({ level: 1, short, detail: [] });
      });
    }
    if (wants.length === 0) return {};
    const all = await Promise.all(results.map(({ ref }, i) => this.#built(ref, graphs[i])));
    const built = all.filter((each) => each !== undefined);
    const mounts = await this.#mounts();
    const { exportCache, exportTitle } = await import('../remote-cache/export.ts');
    const meeting = new Meeting(wants.length);
    const answers = await Promise.all(
      wants.map((want) =>
        this.#job.inVertex(exportTitle(want), async (progress) => {
          let isWritten = false;
          const written = () => {
            isWritten = true;
            return meeting.come(true);
          };
          const place =
            want.place?.type === 'registry'
              ? this.registryFor(want.place.ref, want.place.insecure)
              : undefined;
          const ctx: ExportContext = {
            store,
            registry: place?.registry ?? registry,
            session,
            progress,
            signal,
            lease: this.#lease,
            trusting: (ref) => this.registryFor(ref, true).registry,
            bases,
          };
          try {
            return await exportCache(want, built, mounts, ctx, this.#engine.mayUseBucket, written);
          } catch (err) {
            if (!isWritten) void meeting.come(want.ignoreError);
            throwIfAborted(signal);
            const error = toDrydockError(err, 'cache');
            const message = `exporting cache to ${want.name}: ${error.message}`;
            if (!want.ignoreError) {
              const { code, hop, hint, details } = error;
              throw new DrydockError(message, { code, hop, hint, details, cause: err });
            }
            progress.warn({ level: 1, short: message, detail: error.hint === undefined ? [] : [error.hint] });
            return {};
          }
        }),
      ),
    );
    return Object.assign({}, ...answers) as Record<string, string>;
  }

  /**
   * The tree of a result with the trace of its vertices; undefined for the empty tree. `graph`: as it was solved, with what
   * the build's policies and devices have put into it.
   */
  async #built(ref: Ref | undefined, graph: Graph | undefined): Promise<TracedTree | undefined> {
    if (ref === undefined || graph?.output === undefined) return undefined;
    return { ref, trace: await this.#engine.solver.trace(this.#job, graph.vertices, [graph.output]) };
  }

  /**
   * The client of a reference's registry, and refs that fetch with it. An insecure registry has a client of its own,
   * which is closed with the caches.
   */
  registryFor(ref: string, insecure: boolean): CacheRegistry {
    const { store, registry, refs } = this.#engine;
    if (!insecure) return { registry, refs };
    const { host } = endpointOf(parseReference(ref).domain);
    let found = this.#insecure.get(host);
    if (found === undefined) {
      const client = registry.trusting(host);
      found = { registry: client, refs: createRefs({ store, registry: client }) };
      this.#insecure.set(host, found);
    }
    return found;
  }

  /** Closes the clients that were opened for these caches alone. */
  close(): void {
    for (const { registry } of this.#insecure.values()) registry.close();
    for (const close of this.#atEnd) close();
  }
}
