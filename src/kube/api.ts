/** The few requests that are made of an API server: which pods there are, and a program in one of them. */
import { createHash, randomBytes } from 'node:crypto';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions, Agent as TlsAgent } from 'node:https';
import type { Socket } from 'node:net';
import { canceled, type ErrorCode, fail } from '../errors/index.ts';
import type { Cluster } from './config.ts';
import { type ExecConnection, ExecStream, execProtocols } from './exec-stream.ts';

/** A pod, as far as it matters here. */
export interface Pod {
  name: string;
  ready: boolean;
  /** It is being deleted, and takes no new builds. */
  ending: boolean;
  container: string | undefined;
}

/** How long an answer may take, in ms. */
const patience = 30_000;
/** The largest list of pods that is read. */
const maxAnswer = 32 << 20;

interface PodObject {
  metadata?: { name?: string; deletionTimestamp?: string; annotations?: Record<string, string> };
  spec?: { containers?: { name: string }[] };
  status?: { phase?: string; conditions?: { type: string; status: string }[] };
}

/** The pods of a namespace with these labels. Throws `denied`, `unauthenticated`, `not-found` and `unavailable`. */
export async function listPods(
  cluster: Cluster,
  namespace: string,
  selector: string,
  signal: AbortSignal,
): Promise<Pod[]> {
  const path = `/api/v1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(selector)}`;
  const { items = [] } = await get<{ items?: PodObject[] }>(cluster, path, signal);
  return items.map(podOf);
}

function podOf({ metadata = {}, spec = {}, status = {} }: PodObject): Pod {
  const ready = status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
  return {
    name: metadata.name ?? '',
    ready: ready && status.phase === 'Running',
    ending: metadata.deletionTimestamp !== undefined,
    container:
      metadata.annotations?.['kubectl.kubernetes.io/default-container'] ?? spec.containers?.[0]?.name,
  };
}

async function get<T>(cluster: Cluster, path: string, signal: AbortSignal): Promise<T> {
  const sent = await send(cluster, path, { accept: 'application/json' }, signal);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve);
    sent.once('error', (err) => reject(signal.aborted ? canceled(signal.reason) : unreachable(cluster, err)));
  });
  const text = await textOf(response, maxAnswer);
  if (response.statusCode !== 200) throw refusal(cluster, response.statusCode ?? 0, text);
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw fail('unavailable', 'client', `${cluster.server.host} has answered with no JSON`, { cause });
  }
}

/** What is run, and where. */
interface ExecPlace {
  namespace: string;
  pod: string;
  container?: string;
  command: readonly string[];
}

/**
 * Starts a program in a pod and joins to it. The stream fails with the errors of `listPods`; with `not-found` also for a
 * container that is not there.
 */
export function execIn(cluster: Cluster, place: ExecPlace, signal: AbortSignal): ExecStream {
  const { command, pod } = place;
  return new ExecStream(() => openExec(cluster, place, signal), `${command.join(' ')} in the pod ${pod}`);
}

async function openExec(cluster: Cluster, place: ExecPlace, signal: AbortSignal): Promise<ExecConnection> {
  const { namespace, pod, container, command } = place;
  const query = new URLSearchParams({ stdin: 'true', stdout: 'true', stderr: 'true', tty: 'false' });
  if (container !== undefined) query.set('container', container);
  for (const word of command) query.append('command', word);
  const key = randomBytes(16).toString('base64');
  const headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': key,
    'sec-websocket-protocol': execProtocols.join(', '),
  };
  const sent = await send(
    cluster,
    `/api/v1/namespaces/${namespace}/pods/${pod}/exec?${query}`,
    headers,
    signal,
  );
  return new Promise((resolve, reject) => {
    sent.once('error', (err) => reject(signal.aborted ? canceled(signal.reason) : unreachable(cluster, err)));
    sent.once('response', (response) => {
      const { statusCode = 0 } = response;
      void textOf(response, 1 << 16).then((text) => {
        // A kubelet's words for a request that lost its headers on the way.
        const isLost = statusCode < 300 || /upgrade/i.test(text);
        reject(isLost ? noWebSocket(cluster, text) : refusal(cluster, statusCode, text));
      }, reject);
    });
    sent.once('upgrade', (response, socket, head) => {
      const protocol = String(response.headers['sec-websocket-protocol'] ?? '');
      const proof = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      if (
        response.headers['sec-websocket-accept'] !== proof ||
        !execProtocols.some((each) => each === protocol)
      ) {
        socket.destroy();
        return reject(noWebSocket(cluster));
      }
      socket.setTimeout(0);
      resolve({ socket: socket as Socket, head, protocol });
    });
  });
}

async function send(cluster: Cluster, path: string, headers: Record<string, string>, signal: AbortSignal) {
  const { server, ca, insecure, servername, proxies } = cluster;
  const isTls = server.protocol === 'https:';
  // One connection for each request; the variables for proxies count, as with kubectl.
  const agentOptions = { proxyEnv: proxies };
  const credential = await cluster.credential();
  const options: RequestOptions = {
    hostname: server.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: server.port || undefined,
    path: server.pathname.replace(/\/$/, '') + path,
    headers: { 'user-agent': 'drydock', ...credential.headers, ...headers },
    agent: isTls ? new TlsAgent(agentOptions) : new Agent(agentOptions),
    timeout: patience,
    signal,
    ...(isTls && {
      ca,
      cert: credential.cert,
      key: credential.key,
      servername,
      rejectUnauthorized: !insecure,
      ALPNProtocols: ['http/1.1'],
    }),
  };
  const sent = isTls ? httpsRequest(options) : httpRequest(options);
  sent.once('timeout', () => sent.destroy(new Error(`no answer within ${patience / 1000} s`)));
  sent.end();
  return sent;
}

async function textOf(response: IncomingMessage, most: number): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk;
    if (text.length > most) {
      response.destroy();
      throw fail('exhausted', 'client', 'the answer of the API server is too long', {
        hint: 'Name labels that fewer pods have.',
      });
    }
  }
  return text;
}

const codes: Record<number, ErrorCode> = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'denied',
  404: 'not-found',
};

function refusal({ server }: Cluster, code: number, text: string) {
  let message = text.trim().slice(0, 1000);
  try {
    message = String((JSON.parse(text) as { message?: unknown }).message ?? message);
  } catch {
    // A proxy's page, perhaps: shown as it is.
  }
  return fail(codes[code] ?? 'unavailable', 'client', `${server.host}: ${message || `it answered ${code}`}`, {
    ...(code === 403 && {
      hint: 'You need the rights to list pods, and to get and create pods/exec, in that namespace.',
    }),
  });
}

/** The error when exec does not come about for want of the protocol. Every API server speaks it; SPDY is not spoken here. */
function noWebSocket({ server }: Cluster, text = '') {
  const said = text.trim().split('\n')[0]?.slice(0, 300) ?? '';
  const what = `${server.host} does not speak exec over a WebSocket (${execProtocols.join(', ')})`;
  return fail('unavailable', 'client', said === '' ? what : `${what}: ${said}`, {
    hint: 'A proxy or load balancer in front of the API server must pass WebSockets on; kubectl’s SPDY is not spoken here.',
  });
}

function unreachable({ server }: Cluster, cause: Error) {
  return fail('unavailable', 'client', `cannot reach the API server ${server.host} (${cause.message})`, {
    cause,
  });
}
