/**
 * A small cluster: an API server as far as clients of pods use one (objects, lists by labels, exec over WebSocket and
 * SPDY), and pods that are processes of this clone's own program.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { unmountBelow } from '../../../src/store/shared/run-folder.ts';
import { isProtobuf, objectIn } from './protobuf.ts';
import { acceptSpdy } from './spdy.ts';
import { acceptWebSocket } from './websocket.ts';

const program = join(import.meta.dirname, '../../../bin/drydock');

/** An object of Kubernetes. */
// biome-ignore lint/suspicious/noExplicitAny: objects have many shapes
type KubeObject = Record<string, any> & { metadata: { name: string } & Record<string, any> };

/** A pod that runs: a daemon with a root and a socket of its own. */
export interface RunningPod {
  readonly name: string;
  readonly root: string;
  readonly process: ChildProcess;
  /** What it has logged so far. */
  log(): string;
}

export interface TestCluster {
  readonly dir: string;
  /** The API server's. */
  readonly url: string;
  /** Writes a kubeconfig and returns its path. */
  kubeconfig(user?: object, more?: { context?: object; cluster?: object }): string;
  /** Starts a pod whose container `buildkitd` has these arguments and variables; resolves when it is ready. */
  run(name: string, labels: Record<string, string>, options?: PodOptions): Promise<RunningPod>;
  readonly pods: ReadonlyMap<string, RunningPod>;
  /** As the kubelet ends a pod: it is marked, SIGTERM, and gone once its process has ended. */
  delete(name: string): Promise<void>;
  /** Method and path of each request so far, with its protocol for exec. */
  readonly requests: string[];
  stop(): Promise<void>;
}

export interface PodOptions {
  args?: string[];
  env?: Record<string, string>;
  /** A folder instead of the pod's own; it stays. */
  root?: string;
}

export interface ClusterOptions {
  /** Serves with TLS, and asks for client certificates of this CA. */
  tls?: { cert: Buffer; key: Buffer; ca: Buffer };
  /** Whom to let in. */
  admit?: (request: IncomingMessage) => boolean;
}

/** Starts one; `stop` ends everything that it has started. */
export async function startCluster({ tls, admit = () => true }: ClusterOptions = {}): Promise<TestCluster> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-kube-'));
  const objects = new Map<string, KubeObject>();
  const pods = new Map<string, RunningPod>();
  const requests: string[] = [];
  const sockets = new Set<Duplex>();
  const execs = new Set<ChildProcess>();

  const handler = (request: IncomingMessage, response: ServerResponse) =>
    void answer(request, response).catch((err: Error) => {
      response.writeHead(500, { 'content-type': 'application/json' });
      response.end(JSON.stringify(failure(500, 'InternalError', err.message)));
    });
  const server = tls
    ? createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: false }, handler)
    : createServer(handler);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => void exec(request, socket, head));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url as string, url);
    requests.push(`${request.method} ${pathname}`);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const send = (code: number, answer: object) => {
      response.writeHead(code, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer));
    };
    if (!admit(request)) return send(401, failure(401, 'Unauthorized', 'Unauthorized'));
    const [, version, , namespace, kind = '', name] =
      /^\/(api\/v1|apis\/[^/]+\/[^/]+)(\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?$/.exec(pathname) ?? [];
    if (version === undefined) return send(404, failure(404, 'NotFound', `no ${pathname}`));
    const prefix = `${namespace}/${kind}/`;
    if (request.method === 'POST') {
      const object: KubeObject = isProtobuf(body) ? objectIn(body) : JSON.parse(body.toString());
      object.metadata.namespace = namespace;
      objects.set(prefix + object.metadata.name, object);
      if (kind === 'deployments') await deploy(object, namespace as string);
      return send(201, object);
    }
    if (name !== undefined) {
      const object = objects.get(prefix + name);
      if (object === undefined) return send(404, failure(404, 'NotFound', `${kind} "${name}" not found`));
      if (request.method === 'DELETE') {
        objects.delete(prefix + name);
        if (kind === 'deployments')
          await Promise.all((object.podNames as string[]).map((each) => remove(each)));
      }
      return send(200, object);
    }
    const wanted = new URLSearchParams((searchParams.get('labelSelector') ?? '').replaceAll(',', '&'));
    const items = [...objects]
      .filter(([key]) => key.startsWith(prefix))
      .map(([, object]) => object)
      .filter(({ metadata }) => [...wanted].every(([label, value]) => metadata.labels?.[label] === value));
    send(200, { kind: kind === 'pods' ? 'PodList' : 'List', apiVersion: 'v1', metadata: {}, items });
  }

  /** What a controller and the kubelets do with a deployment. */
  async function deploy(object: KubeObject, namespace: string): Promise<void> {
    const { template, replicas = 1 } = object.spec;
    const names = Array.from({ length: replicas }, (_, i) => `${object.metadata.name}-${i}`);
    object.podNames = names;
    const [{ args = [], env = [] }] = template.spec.containers;
    const variables = Object.fromEntries(
      env.map((each: { name: string; value: string }) => [each.name, each.value]),
    );
    await Promise.all(
      names.map((name) => run(name, template.metadata.labels, { args, env: variables }, namespace)),
    );
    object.status = { replicas, readyReplicas: replicas, availableReplicas: replicas };
  }

  async function run(
    name: string,
    labels: Record<string, string>,
    { args = [], env = {}, root = join(dir, name, 'state') }: PodOptions = {},
    namespace = 'default',
  ): Promise<RunningPod> {
    mkdirSync(join(dir, name), { recursive: true });
    const socket = socketOf(name);
    const child = spawn(program, ['buildkitd', ...args, '--root', root, '--addr', `unix://${socket}`], {
      env: { ...process.env, DRYDOCK_NETWORK_MODE: 'host', ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text));
    const pod: RunningPod = { name, root, process: child, log: () => log };
    pods.set(name, pod);
    const object: KubeObject = {
      kind: 'Pod',
      apiVersion: 'v1',
      metadata: { name, namespace, labels },
      spec: { containers: [{ name: 'buildkitd' }] },
      status: { phase: 'Pending', conditions: [] },
    };
    objects.set(`${namespace}/pods/${name}`, object);
    child.once('exit', () => {
      object.status = { phase: 'Failed', conditions: [] };
    });
    // The readiness probe.
    while (!log.includes('is ready')) {
      if (child.exitCode !== null) throw new Error(`the pod ${name} has ended: ${log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    object.status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    return pod;
  }

  const socketOf = (name: string) => join(dir, name, 'buildkitd.sock');

  async function remove(name: string): Promise<void> {
    const pod = pods.get(name);
    const key = [...objects.keys()].find((each) => each.endsWith(`/pods/${name}`));
    if (key !== undefined)
      (objects.get(key) as KubeObject).metadata.deletionTimestamp = new Date().toISOString();
    if (pod !== undefined && pod.process.exitCode === null && pod.process.signalCode === null) {
      pod.process.kill('SIGTERM');
      await once(pod.process, 'exit');
    }
    pods.delete(name);
    if (key !== undefined) objects.delete(key);
  }

  async function exec(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => {});
    const { pathname, searchParams } = new URL(request.url as string, url);
    const [, namespace, name = ''] =
      /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)\/exec$/.exec(pathname) ?? [];
    const protocols = String(request.headers['sec-websocket-protocol'] ?? 'SPDY').split(', ');
    requests.push(`EXEC ${pathname} ${protocols[0]}`);
    const refuse = (code: number, reason: string, message: string) => {
      const body = JSON.stringify(failure(code, reason, message));
      socket.end(
        `HTTP/1.1 ${code} ${reason}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
    };
    if (!admit(request)) return refuse(403, 'Forbidden', 'pods/exec is forbidden');
    if (!objects.has(`${namespace}/pods/${name}`)) return refuse(404, 'NotFound', `pods "${name}" not found`);
    const [command, ...args] = searchParams.getAll('command');
    if (command !== 'buildctl') return refuse(400, 'BadRequest', `no program ${command}`);
    const child = spawn(program, ['buildctl', ...args], {
      env: { ...process.env, BUILDKIT_HOST: `unix://${socketOf(name)}` },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    execs.add(child);
    child.once('exit', () => execs.delete(child));
    child.stdin.on('error', () => {});
    // A server's sockets of HTTP may be half open.
    socket.once('end', () => socket.destroy());
    socket.once('close', () => child.kill());
    const ended = (code: number | null) =>
      code === 0
        ? { status: 'Success' }
        : { status: 'Failure', message: `command terminated with exit code ${code}` };
    if (protocols[0] === 'SPDY') {
      const streams = await acceptSpdy(request, socket, head);
      streams.stdin.pipe(child.stdin);
      child.stdout.pipe(streams.stdout, { end: false });
      child.stderr.pipe(streams.stderr, { end: false });
      child.once('close', (code) => streams.end(ended(code)));
      return;
    }
    const ws = acceptWebSocket(request, socket, head, protocols[0] as string);
    ws.on(({ opcode, bytes }) => {
      if (opcode !== 2) return;
      if (bytes[0] === 0) child.stdin.write(bytes.subarray(1));
      else if (bytes[0] === 255 && bytes[1] === 0) child.stdin.end();
    });
    // In pieces, and with a ping, as an API server may.
    child.stdout.on('data', (bytes: Buffer) =>
      ws.send(Buffer.concat([Buffer.of(1), bytes]), bytes.length > 1000 ? 3 : 1),
    );
    child.stderr.on('data', (bytes: Buffer) => ws.send(Buffer.concat([Buffer.of(2), bytes])));
    ws.ping();
    child.once('close', (code) => {
      ws.send(Buffer.concat([Buffer.of(3), Buffer.from(JSON.stringify(ended(code)))]));
      ws.close();
    });
  }

  return {
    dir,
    pods,
    url,
    requests,
    run,
    delete: remove,
    kubeconfig(user = {}, { context = {}, cluster = {} } = {}) {
      const file = join(dir, `kubeconfig-${Math.random().toString(36).slice(2)}`);
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'test',
        contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', ...context } }],
        clusters: [{ name: 'test', cluster: { server: url, ...cluster } }],
        users: [{ name: 'test', user }],
      };
      writeFileSync(file, JSON.stringify(config));
      return file;
    },
    async stop() {
      for (const child of execs) child.kill('SIGKILL');
      await Promise.all(
        [...pods.values()].map(async ({ process: child }) => {
          if (child.exitCode !== null || child.signalCode !== null) return;
          child.kill('SIGTERM');
          child.kill('SIGTERM');
          await once(child, 'exit');
        }),
      );
      for (const socket of sockets) socket.destroy();
      server.close();
      unmountBelow(dir);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function failure(code: number, reason: string, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code, reason, message };
}
