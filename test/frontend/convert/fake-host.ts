/** A host with trees and images in memory, so that tests say: this Dockerfile in, these ops and this config out. */
import { fromBinary } from '@bufbuild/protobuf';
import { fail } from '../../../src/errors/error.ts';
import { dockerfileFrontend } from '../../../src/frontend/dockerfile/frontend.ts';
import type {
  DockerfileRequest,
  FrontendHost,
  FrontendResult,
  LintWarning,
} from '../../../src/frontend/types.ts';
import type { FsEntry } from '../../../src/fs/view.ts';
import { loadGraph } from '../../../src/llb/graph.ts';
import type { Vertex } from '../../../src/llb/vertex.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import type { ImageConfig, Platform } from '../../../src/oci/types.ts';
import { type Definition, type Op, OpSchema } from '../../../src/pb/solver/pb/ops_pb.js';

export const amd64: Platform = { os: 'linux', architecture: 'amd64' };
export const arm64: Platform = { os: 'linux', architecture: 'arm64' };

type Files = Record<string, string | Buffer>;

export interface World {
  /** Files by source identifier: `local://context`, `upload://1`, `git://…`. */
  trees?: Record<string, Files>;
  /** Times of sources by their identifier. */
  times?: Record<string, number | 'files'>;
  /** Configs by normalized reference. */
  images?: Record<string, Partial<ImageConfig>>;
}

export class FakeHost implements FrontendHost {
  /** Names of the vertices that were opened, and log names of the images that were resolved. */
  readonly log: string[] = [];
  /** Attributes of the sources that were opened. */
  readonly opened: Record<string, string>[] = [];
  /** Rules of the findings told. */
  readonly warned: string[] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  async sourceTime(definition: Definition) {
    const { vertices } = loadGraph(definition);
    const sources = vertices.flatMap(({ op: { op } }) => (op.case === 'source' ? [op.value.identifier] : []));
    const [source = ''] = sources;
    return this.#world.times?.[source];
  }

  warn({ rule }: LintWarning): void {
    this.warned.push(rule);
  }

  async resolveImage(ref: string, options: { platform: Platform; logName: string }) {
    this.log.push(options.logName);
    const config = this.#world.images?.[ref];
    if (config === undefined) throw fail('not-found', 'registry', `${ref}: not found`);
    return {
      ref: `${ref}@${digestOf(ref)}`,
      digest: digestOf(ref),
      config: baseImage(config, options.platform),
    };
  }

  async open(definition: Definition) {
    const { vertices, output } = loadGraph(definition);
    for (const { name } of vertices) this.log.push(name);
    let vertex = output?.vertex;
    // An unpacked download: its tree is given under `unpacked:<url>`.
    const unpacked = vertex?.op.op.case === 'file';
    if (unpacked) vertex = vertex?.inputs[0]?.vertex;
    const source = vertex?.op.op.case === 'source' ? vertex.op.op.value : undefined;
    this.opened.push({ ...source?.attrs });
    return tree(this.#world.trees?.[`${unpacked ? 'unpacked:' : ''}${source?.identifier}`] ?? {});
  }
}

function baseImage(config: Partial<ImageConfig>, platform: Platform): ImageConfig {
  return {
    os: platform.os,
    architecture: platform.architecture,
    created: '2020-01-01T00:00:00Z',
    rootfs: { type: 'layers', diff_ids: [digestOf('layer')] },
    history: [{ created_by: 'base' }],
    ...config,
  };
}

function tree(files: Files) {
  const entry = (path: string): FsEntry | undefined => {
    const content = files[path.slice(1)];
    if (content === undefined) return undefined;
    return {
      path,
      name: path.slice(path.lastIndexOf('/') + 1),
      type: 'file',
      size: content.length,
    } as FsEntry;
  };
  return {
    readFile: async (path: string) => {
      const content = files[path.slice(1)];
      return content === undefined ? undefined : Buffer.from(content);
    },
    stat: async (path: string) => entry(path),
    newest: async () => (Object.keys(files).length === 0 ? undefined : 1_700_000_302),
    readdir: async (path: string) => {
      const prefix = path === '/' ? '/' : `${path}/`;
      return Object.keys(files)
        .map((name) => entry(`/${name}`))
        .filter((e) => e !== undefined)
        .filter((e) => e.path.startsWith(prefix) && !e.path.slice(prefix.length).includes('/'));
    },
  };
}

/** A request with nothing asked for but a local context. */
export function request(changes: Partial<DockerfileRequest> = {}): DockerfileRequest {
  return {
    context: { type: 'local', name: 'context' },
    buildArgs: {},
    labels: {},
    platforms: [amd64],
    noCache: false,
    noCacheFilter: [],
    pull: 'missing',
    network: 'default',
    extraHosts: [],
    shmSize: 0,
    ulimits: [],
    namedContexts: {},
    ...changes,
  };
}

export const alpine = 'docker.io/library/alpine:3';

export interface Converted extends FrontendResult {
  host: FakeHost;
  vertices: Vertex[];
  /** Names of all vertices, inputs first. */
  names: string[];
  config: ImageConfig;
  /** `created_by` of the history. */
  history: (string | undefined)[];
  /** The vertex of this name. */
  vertex(name: string | RegExp): Vertex;
  op<K extends NonNullable<Op['op']['case']>>(
    name: string | RegExp,
    kind: K,
  ): Extract<Op['op'], { case: K }>['value'];
}

/** Converts a Dockerfile with `alpine:3` at hand. */
export async function convert(
  dockerfile: string,
  changes: Partial<DockerfileRequest> = {},
  world: World = {},
): Promise<Converted> {
  const trees = { ...world.trees };
  trees['local://context'] = { Dockerfile: dockerfile, ...trees['local://context'] };
  const host = new FakeHost({ trees, images: { [alpine]: {}, ...world.images } });
  const result = await dockerfileFrontend(request(changes), host, new AbortController().signal);
  const [target] = result.targets;
  if (target === undefined) throw new Error('no target');
  const { vertices } = loadGraph(target.definition);
  const vertex = (name: string | RegExp): Vertex => {
    const found = vertices.find((v) => (typeof name === 'string' ? v.name === name : name.test(v.name)));
    if (found === undefined)
      throw new Error(`no vertex ${name} in\n${vertices.map((v) => v.name).join('\n')}`);
    return found;
  };
  return {
    ...result,
    host,
    vertices,
    names: vertices.map((v) => v.name),
    config: target.config,
    history: (target.config.history ?? []).map((entry) => entry.created_by),
    vertex,
    op(name, kind) {
      const { op } = vertex(name).op;
      if (op.case !== kind) throw new Error(`want ${kind}, got ${op.case}`);
      return op.value as never;
    },
  };
}

/** All ops of a definition. */
export function opsOf(definition: Definition): Op[] {
  return definition.def.map((bytes) => fromBinary(OpSchema, bytes));
}
