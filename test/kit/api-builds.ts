/** Builds posted to a test's daemon as clients post them, how they fail, and what they leave behind. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Readable } from 'node:stream';
import { fromBinary } from '@bufbuild/protobuf';
import { type StatusResponse, StatusResponseSchema } from '../../src/pb/moby/buildkit/v1/status_pb.js';
import { type Answer, startTestDaemon, type TestDaemon } from './daemon.ts';
import { type TestFile, tarOf } from './images.ts';
import type { OneStore } from './stores.ts';

/** One object of the answer's stream. */
export interface BuildLine {
  id?: string;
  aux?: unknown;
  stream?: string;
  error?: string;
  errorDetail?: { message: string; code?: number };
}

export interface Built {
  answer: Answer;
  lines: BuildLine[];
  /** Undefined when the build has failed. */
  imageId: string | undefined;
  /** The message that the client shows; undefined when the build has not failed. */
  error: string | undefined;
  /** `errorDetail.code`: a step's exit code. */
  exitCode: number | undefined;
  /** Names of the steps that were taken from the cache. */
  cached: string[];
  /** What the steps printed. */
  log: string;
}

/** A context: its files, a Dockerfile alone, or the body's bytes as they are. */
export type Body = Record<string, TestFile> | string | Buffer | Readable;

const busybox = readFileSync('/bin/busybox');

/** A context whose Dockerfile starts with an image that has a shell: busybox, with a link per applet named. */
export function shellContext(
  steps: string,
  more: Record<string, TestFile> = {},
  applets: readonly string[] = [],
): Record<string, TestFile> {
  const links = Object.fromEntries(
    ['sh', ...applets].map((name) => [`rootfs/bin/${name}`, { link: 'busybox', mode: 0o777 }]),
  );
  return {
    Dockerfile: `FROM scratch\nCOPY rootfs /\n${steps}\n`,
    'rootfs/bin/busybox': { data: busybox, mode: 0o755 },
    ...links,
    ...more,
  };
}

/** A daemon on a store, with builds over its API. */
export class ApiBuilds {
  readonly daemon: TestDaemon;
  readonly #store: OneStore;
  readonly #namespace: string | undefined;

  private constructor(daemon: TestDaemon, store: OneStore, namespace: string | undefined) {
    this.daemon = daemon;
    this.#store = store;
    this.#namespace = namespace;
  }

  /** Starts a daemon on the store; `config` as for `startTestDaemon`. Call `stop` in `afterAll`. */
  static async open(store: OneStore, config: Parameters<typeof startTestDaemon>[0] = {}): Promise<ApiBuilds> {
    const options = store.options();
    const daemon = await startTestDaemon({ ...options, ...config });
    return new ApiBuilds(daemon, store, options.containerdNamespace);
  }

  stop(): Promise<void> {
    return this.daemon.stop();
  }

  /** Posts a build; `version` 2 unless the query says otherwise. Never rejects for a build that fails. */
  async build(body: Body | undefined, query = '', headers: Record<string, string> = {}): Promise<Built> {
    const version = /(^|&)version=/.test(query) ? '' : 'version=2&';
    const answer = await this.daemon.ask('POST', `/build?${version}${query}`, {
      body: bytesOf(body),
      headers: { 'content-type': 'application/x-tar', ...headers },
    });
    return builtOf(answer);
  }

  /** Posts a build that must fail in its stream; gives what its client shows. */
  async error(body: Body | undefined, query = '', headers: Record<string, string> = {}): Promise<string> {
    const { answer, error } = await this.build(body, query, headers);
    if (answer.status !== 200) throw new Error(`status ${answer.status}: ${answer.text}`);
    if (error === undefined) throw new Error(`the build did not fail:\n${answer.text.slice(-2000)}`);
    return error;
  }

  /** Posts a build that must succeed; gives its image's ID. */
  async ok(body: Body | undefined, query = '', headers: Record<string, string> = {}): Promise<Built> {
    const built = await this.build(body, query, headers);
    if (built.answer.status !== 200 || built.error !== undefined) {
      throw new Error(`the build failed: ${built.error ?? built.answer.text}`);
    }
    return built;
  }

  /** Names of the images there are. */
  async tags(): Promise<string[]> {
    const images = (await this.daemon.ask('GET', '/images/json')).json<{ RepoTags: string[] }[]>();
    return images.flatMap(({ RepoTags }) => RepoTags);
  }

  /**
   * What no build that is over may leave, a sentence each: leases, active snapshots, temporary files, mounts, containers,
   * half-written blobs, and whatever `verify` finds.
   */
  async leftBehind(): Promise<string[]> {
    const { store } = this.daemon.engine;
    const left: string[] = [];
    for (const { id, pinned } of await store.leases.list()) if (!pinned) left.push(`lease ${id}`);
    for (const { key, kind } of await store.snapshots.list())
      if (kind === 'active') left.push(`active ${key}`);
    left.push(...filesBelow(store.runDir).map((name) => `temporary file ${name}`));
    left.push(...mountsBelow(store.root).map((place) => `mount ${place}`));
    left.push(...this.#ingests().map((name) => `half-written blob ${name}`));
    left.push(...(await store.verify()).problems);
    return left;
  }

  #ingests(): string[] {
    const { root } = this.daemon.engine.store;
    if (this.#namespace === undefined) {
      const db = new DatabaseSync(join(root, 'store.db'), { readOnly: true });
      const refs = new Map(
        db
          .prepare('SELECT file, ref FROM ingests')
          .all()
          .map(({ file, ref }) => [String(file), String(ref)]),
      );
      db.close();
      return readdirSync(join(root, 'ingest')).map((file) => refs.get(file) ?? file);
    }
    const [, ...rows] = this.#store.containerd().ctr(this.#namespace, 'content', 'active').trim().split('\n');
    return rows.map((row) => row.split(/\s+/)[0] ?? '');
  }

  /** `ctr` in this daemon's namespace. */
  ctr(...args: string[]): string {
    return this.#store.containerd().ctr(this.#namespace ?? '', ...args);
  }
}

export function bytesOf(body: Body | undefined): Buffer | Readable | undefined {
  if (body === undefined || Buffer.isBuffer(body)) return body;
  if (typeof body === 'string') return tarOf({ Dockerfile: body });
  return isStream(body) ? body : tarOf(body);
}

function isStream(body: object): body is Readable {
  return 'pipe' in body && typeof body.pipe === 'function';
}

/** An answer of `POST /build`, of either version. */
export function builtOf(answer: Answer): Built {
  if (answer.status !== 200) {
    const none = {
      lines: [],
      imageId: undefined,
      error: undefined,
      exitCode: undefined,
      cached: [],
      log: '',
    };
    return { answer, ...none };
  }
  const lines = answer.lines<BuildLine>();
  const statuses = lines
    .filter(({ id }) => id === 'moby.buildkit.trace')
    .map(({ aux }) => fromBinary(StatusResponseSchema, Buffer.from(String(aux), 'base64')));
  const image = lines.find(
    ({ id, aux }) => aux !== undefined && (id === undefined || id === 'moby.image.id'),
  );
  const last = lines.at(-1);
  return {
    answer,
    lines,
    imageId: (image?.aux as { ID?: string } | undefined)?.ID,
    error: last?.error,
    exitCode: last?.errorDetail?.code,
    cached: cachedSteps(statuses),
    log: [
      ...statuses.flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())),
      ...lines.map(({ stream }) => stream ?? ''),
    ].join(''),
  };
}

function cachedSteps(statuses: readonly StatusResponse[]): string[] {
  const cached = new Map<string, boolean>();
  for (const { vertexes } of statuses) for (const { name, cached: is } of vertexes) cached.set(name, is);
  return [...cached].filter(([, is]) => is).map(([name]) => name);
}

/** Paths of files (and of folders that only a build makes) in a process's own folder. */
function filesBelow(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .filter((name) => !/^(lock|new|exec|uploads|trash(\/.*)?)$/.test(name));
}

function mountsBelow(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((place) => place.startsWith(`${dir}/`));
}
