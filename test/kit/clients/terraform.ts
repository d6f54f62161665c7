/**
 * What kreuzwerker/docker 3.0.2, Terraform's provider, asks of a daemon for a `docker_image` with a `build` block, in its
 * order: internal/provider/resource_docker_image_funcs.go, on docker's Go client v20.10.22 and BuildKit's session
 * v0.10.6. It runs a session in the background and closes it at once, so that what becomes of it is a race.
 */
import { randomBytes } from 'node:crypto';
import { performServerHandshake, type ServerHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';
import { type BuildAnswer, readBuild } from '../build-answer.ts';
import type { TestDaemon } from '../daemon.ts';
import { SessionClient } from '../session/session-client.ts';
import { GoDockerClient } from './go-docker.ts';

/**
 * Where the race may lead. `absent`: nobody connects. `late`: it connects after the build was posted. `live`: `Close`
 * came before `Run` and did nothing, so that the session stays, and serves health checks alone. `dead`: it is closed as
 * soon as it is connected. `stopped`: `Close` stopped the gRPC server while the session was being dialled: every call is
 * answered with an empty 200, and the provider waits, before it posts the build, until the daemon ends the session.
 */
export const sessionRaces = ['absent', 'late', 'live', 'dead', 'stopped'] as const;
export type SessionRace = (typeof sessionRaces)[number];

export interface DockerImage {
  name: string;
  /** The context as a tar. */
  context: Buffer;
  dockerfile?: string;
  buildArgs?: Record<string, string>;
  labels?: Record<string, string>;
  noCache?: boolean;
  forceRemove?: boolean;
}

/** What Terraform keeps of an image. */
export interface ImageState {
  /** `ID` and name in one. */
  id: string;
  imageId: string;
  repoDigest: string;
}

interface Summary {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
}

const healthMethods = ['Check', 'Watch'].map((method) => `/grpc.health.v1.Health/${method}`);
/** A HealthCheckResponse that is SERVING. */
const serving = Buffer.from([0x08, 0x01]);

/** One run of the provider. `close` it: its sessions live as long as its process. */
export class TerraformProvider {
  readonly #daemon: TestDaemon;
  readonly #docker: GoDockerClient;
  readonly #sessions: SessionClient[] = [];

  constructor(daemon: TestDaemon) {
    this.#daemon = daemon;
    this.#docker = new GoDockerClient(daemon, '1.41');
  }

  close(): void {
    for (const session of this.#sessions) session.close();
  }

  /** Creation: builds, finds the image (or tries to pull it), reads it. Throws what the user is shown. */
  async create(image: DockerImage, race: SessionRace): Promise<ImageState & { build: BuildAnswer }> {
    await this.#docker.ping();
    const session = this.#session(race);
    if (race === 'dead' || race === 'stopped') {
      await session.connect(this.#daemon.socket);
      if (race === 'dead') session.close();
      else await session.over;
    }
    if (race === 'live') await session.connect(this.#daemon.socket);
    const posted = this.#docker.imageBuild(image.context, {
      tags: [image.name],
      dockerfile: image.dockerfile ?? 'Dockerfile',
      version: '2',
      session: session.id,
      remove: true,
      noCache: image.noCache,
      labels: image.labels ?? {},
      buildArgs: image.buildArgs ?? {},
      cacheFrom: [],
      ulimits: [],
      authConfigs: {},
    });
    if (race === 'late') await session.connect(this.#daemon.socket);
    const build = readBuild(await posted);
    if (build.error !== undefined) throw new Error(build.error);
    const found = await this.#find(image.name);
    if (found === undefined) {
      const pull = new URLSearchParams({ fromImage: image.name.split(':')[0] ?? '', tag: 'latest' });
      const { text } = await this.#docker.ask('POST', `/images/create?${pull}`);
      throw new Error(`unable to find or pull image ${image.name}: ${text}`);
    }
    const state = await this.read(image.name);
    if (state === undefined) throw new Error(`${image.name} is gone after its creation`);
    return { ...state, build };
  }

  /** Refresh: undefined when the image is not there any more, so that Terraform plans to make it again. */
  async read(name: string): Promise<ImageState | undefined> {
    const found = await this.#find(name);
    if (found === undefined) return undefined;
    const repository = name.replace(/:[^:/]*$/, '');
    return {
      id: found.Id + name,
      imageId: found.Id,
      repoDigest: found.RepoDigests?.find((digest) => digest.startsWith(`${repository}@`)) ?? '',
    };
  }

  /** Destruction. Throws what the user is shown. */
  async destroy({ name, forceRemove = false }: DockerImage): Promise<object[]> {
    if ((await this.#find(name)) === undefined) return [];
    const query = forceRemove ? 'force=1&noprune=1' : 'noprune=1';
    const { status, text, json } = await this.#docker.ask('DELETE', `/images/${name}?${query}`);
    if (status !== 200) throw new Error(text);
    return json<object[]>();
  }

  /** A `docker_registry_image`: pushes; throws the daemon's words, of which it reads the key `error` alone. */
  async push(name: string, account?: { username: string; password: string }): Promise<void> {
    const at = name.lastIndexOf(':');
    const auth = account === undefined ? '' : Buffer.from(JSON.stringify(account)).toString('base64url');
    const path = `/images/${name.slice(0, at)}/push?tag=${name.slice(at + 1)}`;
    const { status, text } = await this.#docker.ask('POST', path, { headers: { 'x-registry-auth': auth } });
    if (status !== 200) throw new Error(text);
    // What comes after the last line feed is not looked at.
    for (const line of text.split('\n').slice(0, -1)) {
      const { error } = JSON.parse(line) as { error?: string };
      if (error !== undefined) throw new Error(`Error pushing image: ${error}`);
    }
  }

  /** The image in the list whose ID inspection gives: it is found by nothing else. */
  async #find(name: string): Promise<Summary | undefined> {
    const listed = await this.#docker.ask('GET', '/images/json');
    if (listed.status !== 200) throw new Error(`unable to list Docker images: ${listed.text}`);
    const inspected = await this.#docker.ask('GET', `/images/${name}/json`);
    if (inspected.status === 404) return undefined;
    if (inspected.status !== 200) throw new Error(`unable to inspect image ${name}: ${inspected.text}`);
    return listed.json<Summary[]>().find(({ Id }) => Id === inspected.json<Summary>().Id);
  }

  #session(race: SessionRace): ProviderSession {
    const session = new ProviderSession(race === 'stopped');
    this.#sessions.push(session);
    return session;
  }
}

/** The random name under which a Dockerfile that is outside the context comes in the tar. */
export function outsideName(): string {
  return `.dockerfile.${randomBytes(10).toString('hex')}`;
}

/** A session that serves health checks alone, or, when its server is stopped, nothing. */
class ProviderSession extends SessionClient {
  /** Settles when the daemon has ended a stopped one. */
  readonly over: Promise<void>;
  readonly #stopped: boolean;
  readonly #ended = Promise.withResolvers<void>();

  constructor(stopped: boolean) {
    const health = healthMethods.map((method) => [
      method,
      (call: { send(message: Uint8Array): Promise<void> }) => call.send(serving),
    ]);
    super({
      id: randomBytes(16).toString('hex').slice(0, 25),
      name: 'docker-provider',
      handlers: Object.fromEntries(health),
    });
    this.#stopped = stopped;
    this.over = this.#ended.promise;
  }

  override serve(connection: Duplex): void {
    if (!this.#stopped) {
      super.serve(connection);
      return;
    }
    connection.on('error', () => {});
    connection.once('close', () => this.#ended.resolve());
    const session = performServerHandshake(connection) as ServerHttp2Session;
    session.on('error', () => {});
    session.on('stream', (stream) => {
      stream.on('error', () => {});
      stream.respond({ ':status': 200, 'content-length': 0 }, { endStream: true });
    });
  }
}
