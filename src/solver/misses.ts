import { maskUrls } from '../errors/index.ts';
import { digestOf } from '../oci/index.ts';
import { now } from '../progress/index.ts';
import { hasResults } from './identify.ts';
import type { Job } from './job.ts';
import type { BuildOrigin, Miss, MissBuild, MissInput, MissTeller } from './miss.ts';
import type { VertexState } from './state.ts';
import type { Vertex } from './types.ts';
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
  readonly #projects = new WeakMap<object, Promise<string | undefined>>();

  constructor(teller: MissTeller | undefined) {
    this.#teller = teller;
  }

  /**
   * Has the builds told why a step is about to run. Returns what is to be called when it has run (`ended`), and when its
   * result is recorded. Where the step prints nothing it need not be waited for (`told`).
   */
  async begin(state: VertexState, identity: VertexIdentity): Promise<BegunMiss | undefined> {
    const teller = this.#teller;
    const { job } = state.audience;
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
    const ended = () => {
      const { usage } = state.audience;
      if (usage !== undefined) teller.used(miss, usage);
    };
    return { told, ended, recorded: () => teller.recorded(miss) };
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
    const { about, session } = job;
    const vertices = () => [...job.holds].flatMap((hold) => [...hold.states]).map(({ vertex }) => vertex);
    return {
      id: about.id,
      tenant: session.tenant?.id,
      what: whatOf(about.origin),
      project: () => {
        let project = this.#projects.get(about);
        if (project === undefined) {
          project = projectOf(job, vertices());
          this.#projects.set(about, project);
        }
        return project;
      },
      steps: () => new Set(vertices().map(({ name }) => name)),
      failedImports: about.failedImports,
    };
  }
}

function whatOf({ names = [], context, file }: BuildOrigin): string {
  return maskUrls([...names, context, file].filter((part) => part !== undefined).join(' '));
}

/** The client's folder where the build has one; else what its request says. */
async function projectOf({ session, about }: Job, vertices: readonly Vertex[]): Promise<string | undefined> {
  const { file, context, names } = about.origin;
  const folders = vertices.flatMap(({ op: { op } }) => {
    const [, name] = (op.case === 'source' && /^local:\/\/(.*)$/.exec(op.value.identifier)) || [];
    return name === undefined ? [] : [name];
  });
  const name = folders.includes('context') ? 'context' : folders.sort()[0];
  const provider = name === undefined ? undefined : await session.local(name).catch(() => undefined);
  const folder = provider?.kind === 'folder' ? provider.dir : provider?.sharedKey;
  if (!folder && context === undefined && (names ?? []).length === 0) return undefined;
  const place = folder ? ['folder', folder] : ['request', context ?? '', ...(names ?? [])];
  return digestOf(JSON.stringify([...place, file ?? '']));
}
