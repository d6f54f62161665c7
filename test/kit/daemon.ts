/** A real daemon with its own root and socket, in this process, which goes away with the test. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { DaemonConfig } from '../../src/daemon/config.ts';
import { startDaemon } from '../../src/daemon/daemon.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { unmountBelow } from '../../src/store/shared/run-folder.ts';

export interface TestDaemon {
  /** Path of its socket. */
  readonly socket: string;
  /** `unix://…` of it, for DOCKER_HOST and DRYDOCK_HOST. */
  readonly host: string;
  readonly addresses: readonly string[];
  readonly engine: Engine;
  /** A folder for whatever the test needs, removed by `stop`; the root is `root` in it. */
  readonly dir: string;
  /** Lines it has logged so far, one JSON object each. */
  log(): Record<string, unknown>[];
  reload(): void;
  /** Sends one request; the answer is read whole. A body that is an object (no Buffer, no stream) goes as JSON. */
  ask(method: string, path: string, options?: AskOptions): Promise<Answer>;
  /** Runs a docker CLI against it, with a configuration folder of its own. Never rejects. */
  docker(args: string[], options?: DockerOptions): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Stops it without removing its folders; `start` goes on with them. */
  halt(now?: boolean): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface AskOptions {
  headers?: Record<string, string>;
  body?: Buffer | string | Readable | object;
  /** Where to, instead of the socket. */
  to?: RequestOptions;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** The body as JSON. */
  json<T = Record<string, unknown>>(): T;
  /** The body as JSON objects, one a line. */
  lines<T = Record<string, unknown>>(): T[];
}

export interface DockerOptions {
  env?: Record<string, string>;
  cwd?: string;
  input?: Buffer | string;
  /** Default: /usr/bin/docker, Debian's. */
  cli?: string;
}

/** Starts one. Call `stop` in `afterAll`. Everything in `config` but root and hosts is taken as it is. */
export async function startTestDaemon(config: Partial<DaemonConfig> = {}): Promise<TestDaemon> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-daemon-'));
  const socket = join(dir, 'docker.sock');
  const lines: string[] = [];
  const boot = () =>
    startDaemon({
      logFormat: 'json',
      logLevel: 'debug',
      writeLog: (line) => void lines.push(line),
      shutdownTimeout: 5_000,
      ...config,
      root: config.root ?? join(dir, 'root'),
      hosts: [`unix://${socket}`, ...(config.hosts ?? [])],
    });
  const remove = () => {
    unmountBelow(dir);
    rmSync(dir, { recursive: true, force: true });
  };
  let daemon = await boot().catch((err) => {
    remove();
    throw err;
  });
  return {
    socket,
    host: `unix://${socket}`,
    dir,
    get addresses() {
      return daemon.addresses;
    },
    get engine() {
      return daemon.engine;
    },
    log: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    reload: () => daemon.reload(),
    ask: (method, path, options = {}) => ask(options.to ?? { socketPath: socket }, method, path, options),
    docker: (args, options = {}) => docker(socket, dir, args, options),
    halt: (now) => daemon.stop(now),
    async start() {
      daemon = await boot();
    },
    async stop() {
      await daemon.stop(true);
      remove();
    },
  };
}

function ask(to: RequestOptions, method: string, path: string, options: AskOptions): Promise<Answer> {
  const { headers = {}, body } = options;
  const plain = typeof body === 'object' && !Buffer.isBuffer(body) && !('pipe' in body);
  return new Promise((resolve, reject) => {
    const sent = request({
      agent: false,
      ...to,
      method,
      path,
      headers: { host: 'docker', ...(plain ? { 'content-type': 'application/json' } : {}), ...headers },
    });
    sent.on('error', reject);
    sent.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8');
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: () => JSON.parse(text),
          lines: () =>
            text
              .split(/\r?\n/)
              .filter((line) => line !== '')
              .map((line) => JSON.parse(line)),
        });
      });
    });
    if (body === undefined) sent.end();
    else if (plain) sent.end(JSON.stringify(body));
    else if (typeof body === 'object' && 'pipe' in body) (body as Readable).pipe(sent);
    else sent.end(body);
  });
}

function docker(
  socket: string,
  dir: string,
  args: string[],
  { env = {}, cwd, input, cli = '/usr/bin/docker' }: DockerOptions,
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      cli,
      args,
      {
        cwd,
        maxBuffer: 64 << 20,
        env: {
          PATH: process.env.PATH,
          HOME: dir,
          DOCKER_CONFIG: join(dir, 'docker-config'),
          DOCKER_HOST: `unix://${socket}`,
          ...env,
        },
      },
      (err, stdout, stderr) => {
        const code = err === null ? 0 : typeof err.code === 'number' ? err.code : 1;
        resolve({ code, stdout, stderr });
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
