import { maskUrls } from '../errors/index.ts';
import { digestOf } from '../oci/index.ts';
import { now } from '../progress/index.ts';
import { hasResults } from './foreign-match.ts';
import type { Job } from './job.ts';
import type { BuildOrigin, Miss, MissBuild, MissInput, MissTeller } from './miss.ts';
import { type Projects, sizeOf, verticesOf } from './projects.ts';
import type { VertexState } from './state.ts';
import type { VertexIdentity } from './work.ts';

/** A step of which builds are told why it runs. */
interface BegunMiss {
  told: Promise<void>;
  ended(): void;
  recorded(): void;
}

/** Has the builds told why a step runs, where somebody can say it. */
export class Misses {
  readonly #teller: MissTeller | undefined;
  readonly #known = new WeakMap<VertexState, Miss>();
  readonly #projects: Projects;
  readonly #builds = new WeakMap<Job, MissBuild>();

  constructor(teller: MissTeller | undefined, projects: Projects) {
    this.#teller = teller;
    this.#projects = projects;
  }

  /**
   * Has the builds told why a step is about to run. Returns what is to be called when it has run (`ended`), and when its
   * result is recorded. Where the step prints nothing it need not be waited for (`told`).
   */
  async begin(state: VertexState, identity: VertexIdentity): Promise<BegunMiss | undefined> {
    const teller = this.#teller;
    const { job } = state.audience;
    if (job !== undefined && state.vertex.op.op.case !== 'source') job.about.hasRun = true;
    if (teller === undefined || job === undefined || identity.volatile) return undefined;
    if (state.vertex.op.op.case === 'source') return undefined;
    const miss = await this.#missOf(state, identity, job);
    this.#known.set(state, miss);
    const told = teller.why(miss).then((line) => {
      if (line === undefined) return;
      const data = Buffer.from(`${line}\n`);
      const { digest } = state.vertex;
      state.audience.sink.log({ vertex: digest, stream: 2, data, timestamp: now(), explains: true });
    });
    if (state.vertex.op.op.case === 'exec') await state.work.orCanceled(told);
    const begun = performance.now();
    let took = 0;
    const ended = () => {
      took = performance.now() - begun;
      const { usage } = state.audience;
      if (usage !== undefined) teller.used(miss, usage);
    };
    return { told, ended, recorded: () => teller.recorded(miss, took) };
  }

  /** Has it noted that a build ran none of its steps, when that is so. The build is over and went well. */
  over(job: Job): void {
    if (this.#teller === undefined || job.about.hasRun) return;
    const steps = verticesOf(job).filter(({ op }) => op.op.case !== 'source').length;
    if (steps > 0) this.#teller.allCached(this.#buildOf(job), steps);
  }

  async #missOf(state: VertexState, identity: VertexIdentity, job: Job): Promise<Miss> {
    const { vertex, work } = state;
    const map = await state.cacheMap();
    const byContent = identity.keys.find(({ parts }) => parts.kind === 'content')?.parts;
    const inputs = await Promise.all(
      state.inputs.map(async (input, i): Promise<MissInput> => {
        const dep = byContent?.deps[i];
        const { id } = (await input.state.work.identity) as VertexIdentity;
        const isSource = input.state.vertex.op.op.case === 'source';
        return {
          vertex: input.state.vertex,
          id,
          content: dep?.content === true ? dep.id : undefined,
          selectors: map.deps[i]?.content ?? [],
          found: isSource ? (await input.state.cacheMap()).found : undefined,
          miss: this.#known.get(input.state),
        };
      }),
    );
    const names = new Set((identity.foreign ?? []).flat().map(({ cache }) => cache.name));
    const hasResult = hasResults(identity.foreign, work.wanted);
    return {
      vertex,
      op: map.digest,
      id: identity.id,
      isIgnored: vertex.metadata?.ignoreCache === true,
      inputs,
      foreign: [...names].map((name) => ({ name, hasResult })),
      build: this.#buildOf(job),
    };
  }

  #buildOf(job: Job): MissBuild {
    const known = this.#builds.get(job);
    if (known !== undefined) return known;
    const { about, session } = job;
    const build = {
      id: about.id,
      tenant: session.tenant?.id,
      what: whatOf(about.origin),
      project: async () => projectOf(about.origin, await this.#projects.folderOf(job)),
      vertices: () => verticesOf(job),
      size: () => sizeOf(job),
      failedImports: about.failedImports,
    };
    this.#builds.set(job, build);
    return build;
  }
}

function whatOf({ names = [], context, file }: BuildOrigin): string {
  return maskUrls([...names, context, file].filter((part) => part !== undefined).join(' '));
}

/** The client's folder where the build has one; else what its request says. */
function projectOf({ file, context, names }: BuildOrigin, folder: string | undefined): string | undefined {
  if (!folder && context === undefined && (names ?? []).length === 0) return undefined;
  const place = folder ? ['folder', folder] : ['request', context ?? '', ...(names ?? [])];
  return digestOf(JSON.stringify([...place, file ?? '']));
}
