/**
 * The requests of Go's docker client (github.com/docker/docker/client), on which Terraform's provider, docker's CLI and
 * many others stand. Parameters and their zero values are those of its `imageBuildOptionsToQuery`; up to v26 it sends
 * all of them, later ones leave the zero ones out.
 */
import { Readable } from 'node:stream';
import type { Answer, TestDaemon } from '../daemon.ts';

export interface GoBuildOptions {
  tags?: string[];
  dockerfile?: string;
  version?: '' | '1' | '2';
  session?: string;
  remove?: boolean;
  noCache?: boolean;
  labels?: Record<string, string>;
  buildArgs?: Record<string, string | null>;
  /** Undefined is Go's nil, sent as `null`. */
  cacheFrom?: string[];
  ulimits?: object[];
  /** Sent base64url in `X-Registry-Config`; undefined is Go's nil. */
  authConfigs?: Record<string, object>;
}

export class GoDockerClient {
  readonly #daemon: TestDaemon;
  readonly #version: string;

  /** `version`: of the API; it is in the path of every request but the ping. */
  constructor(daemon: TestDaemon, version: string) {
    this.#daemon = daemon;
    this.#version = version;
  }

  ask(method: string, path: string, options: Parameters<TestDaemon['ask']>[2] = {}): Promise<Answer> {
    return this.#daemon.ask(method, `/v${this.#version}${path}`, {
      ...options,
      headers: { 'user-agent': 'Go-http-client/1.1', ...options.headers },
    });
  }

  /** `Ping`, and what it negotiates: the newer version of the daemon and the client is the daemon's to speak. */
  async ping(): Promise<string> {
    const { status, headers } = await this.#daemon.ask('HEAD', '/_ping');
    if (status !== 200) throw new Error(`ping: ${status}`);
    return String(headers['api-version']);
  }

  /** `ImageBuild`. The tar is sent chunked, in pieces, as an `io.Reader` is. */
  imageBuild(tar: Buffer, options: GoBuildOptions = {}): Promise<Answer> {
    const query = new URLSearchParams();
    for (const tag of options.tags ?? []) query.append('t', tag);
    if (options.noCache) query.set('nocache', '1');
    query.set('rm', options.remove ? '1' : '0');
    for (const name of ['cpusetcpus', 'networkmode', 'cpusetmems']) query.set(name, '');
    for (const name of ['cpushares', 'cpuquota', 'cpuperiod', 'memory', 'memswap']) query.set(name, '0');
    query.set('cgroupparent', '');
    query.set('shmsize', '0');
    query.set('dockerfile', options.dockerfile ?? '');
    query.set('target', '');
    query.set('ulimits', JSON.stringify(options.ulimits ?? null));
    query.set('buildargs', JSON.stringify(options.buildArgs ?? null));
    query.set('labels', JSON.stringify(options.labels ?? null));
    query.set('cachefrom', JSON.stringify(options.cacheFrom ?? null));
    if (options.session) query.set('session', options.session);
    query.set('version', options.version ?? '');
    query.sort();
    const auth = JSON.stringify(options.authConfigs ?? null);
    return this.ask('POST', `/build?${query}`, {
      body: Readable.from(pieces(tar)),
      headers: {
        'content-type': 'application/x-tar',
        'x-registry-config': Buffer.from(auth).toString('base64url'),
      },
    });
  }
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 32 * 1024) yield bytes.subarray(at, at + 32 * 1024);
}
