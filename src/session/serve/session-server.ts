/**
 * The client's side of a session: it answers what a build asks, on a connection of which a daemon (Drydock's, or any
 * with BuildKit's session protocol) is the gRPC client.
 */
import { randomUUID } from 'node:crypto';
import { request as httpRequest, type RequestOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import {
  type CallHandler,
  GrpcError,
  GrpcServer,
  NOT_FOUND,
  receivedBytes,
  sendBytes,
  unary,
  withHead,
} from '../../grpc/index.ts';
import { CredentialsRequestSchema, CredentialsResponseSchema } from '../../pb/session/auth_pb.js';
import { GetSecretRequestSchema, GetSecretResponseSchema } from '../../pb/session/secrets_pb.js';
import { CheckAgentRequestSchema, CheckAgentResponseSchema } from '../../pb/session/ssh_pb.js';
import type { Session } from '../types.ts';
import { contentHandlers } from './content-service.ts';
import { type OutputTarget, receiveOutput, sendFolder } from './file-services.ts';

/** The things that a served session offers. */
export interface SessionServerOptions {
  /** The session that answers the questions (`inProcessSession`). */
  session: Session;
  /** The places of the build's outputs, by the outputs' numbers. */
  outputs?: ReadonlyMap<number, OutputTarget>;
  /** A name for people. */
  name?: string;
  /** The name of the context's folder across builds, so that only changed files are sent; '' when it has none. */
  sharedKey?: string;
}

/**
 * A session that this process serves. It is made before the build, opened at the daemon by `open` (or put on a
 * connection by `serve`), named in the build's request by `id`, and closed after the build.
 */
export class SessionServer {
  /** The ID by which the build's request names the session. */
  readonly id = randomUUID();
  readonly #options: SessionServerOptions;
  readonly #handlers: ReadonlyMap<string, CallHandler>;
  readonly #server: GrpcServer;
  readonly #connections = new Set<Duplex>();

  constructor(options: SessionServerOptions) {
    this.#options = options;
    this.#handlers = handlersOf(options);
    this.#server = new GrpcServer(this.#handlers);
  }

  /** The description of the session, sent when it is opened: HTTP headers, or metadata of `Control/Session`. */
  get headers(): Record<string, string | string[]> {
    const { name = '', sharedKey = '' } = this.#options;
    return {
      'x-docker-expose-session-uuid': this.id,
      'x-docker-expose-session-name': name.replace(/[^\x20-\x7e]/g, '_'),
      'x-docker-expose-session-sharedkey': sharedKey,
      'x-docker-expose-session-grpc-method': [...this.#handlers.keys()],
    };
  }

  /** Answers on a connection until it is closed. */
  serve(connection: Duplex): void {
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    this.#server.serve(connection);
  }

  /**
   * Sends `POST /session` to a daemon and answers on the connection that this becomes; resolves once it has become one.
   * Throws `unavailable` (hop `client`) when the daemon cannot be reached or refuses.
   */
  async open(daemon: RequestOptions): Promise<void> {
    const request = httpRequest({
      path: '/session',
      ...daemon,
      method: 'POST',
      // Node takes `createConnection` only where there is no agent at all.
      agent: daemon.createConnection === undefined ? false : undefined,
      headers: {
        host: 'localhost',
        ...daemon.headers,
        ...this.headers,
        connection: 'Upgrade',
        upgrade: 'h2c',
      },
    });
    const connection = await new Promise<Duplex>((resolve, reject) => {
      const refused = (why: string, cause?: unknown) =>
        reject(fail('unavailable', 'client', `cannot open a session at the daemon: ${why}`, { cause }));
      request.once('upgrade', (_, socket, head) => resolve(withHead(socket, head)));
      request.once('error', (err) => refused(err.message, err));
      request.once('response', (response) => {
        let text = '';
        response.on('data', (chunk) => (text = (text + chunk).slice(0, 4096)));
        response.once('close', () => refused(`it answered ${response.statusCode} ${messageOf(text)}`));
      });
      request.end();
    });
    this.serve(connection);
  }

  /** Ends the session. */
  close(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

function handlersOf({ session, outputs }: SessionServerOptions): Map<string, CallHandler> {
  const handlers = new Map<string, CallHandler>([
    ['/moby.filesync.v1.FileSync/DiffCopy', sendFolder(session)],
    ['/moby.filesync.v1.Auth/Credentials', credentials(session)],
    ['/moby.buildkit.secrets.v1.Secrets/GetSecret', secret(session)],
    ['/moby.sshforward.v1.SSH/CheckAgent', checkAgent(session)],
    ['/moby.sshforward.v1.SSH/ForwardAgent', forwardAgent(session)],
    ['/moby.upload.v1.Upload/Pull', pull(session)],
    ['/grpc.health.v1.Health/Check', health],
  ]);
  if (session.content !== undefined) {
    for (const [method, handler] of contentHandlers(session)) handlers.set(method, handler);
  }
  if (outputs !== undefined && outputs.size > 0) {
    handlers.set('/moby.filesync.v1.FileSend/DiffCopy', receiveOutput(outputs));
  }
  return handlers;
}

/**
 * The answer to health checks. BuildKit asks every few seconds and ends the session when no answer comes. The bytes are
 * a HealthCheckResponse whose status is SERVING: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */
const health: CallHandler = unary(async () => Buffer.from([0x08, 0x01]));

function credentials(session: Session): CallHandler {
  return unary(async (request) => {
    const { Host } = fromBinary(CredentialsRequestSchema, request);
    // Daemons name Docker Hub by its registry, docker's config by its index.
    const host = Host === 'registry-1.docker.io' ? 'https://index.docker.io/v1/' : Host;
    const found = await session.credentials(host);
    const Username = found?.identityToken === undefined ? (found?.username ?? '') : '';
    const Secret = found?.identityToken ?? found?.password ?? '';
    return toBinary(CredentialsResponseSchema, create(CredentialsResponseSchema, { Username, Secret }));
  });
}

function secret(session: Session): CallHandler {
  return unary(async (request) => {
    const { ID } = fromBinary(GetSecretRequestSchema, request);
    const data = await session.secret(ID);
    if (data === undefined) throw new GrpcError(NOT_FOUND, `secret ${ID} not found`);
    return toBinary(GetSecretResponseSchema, create(GetSecretResponseSchema, { data }));
  });
}

async function dialer(session: Session, id: string): Promise<() => Promise<Duplex>> {
  const dial = await session.ssh(id || 'default');
  if (dial === undefined) throw new GrpcError(NOT_FOUND, `there is no ssh agent ${id || 'default'}`);
  return dial;
}

function checkAgent(session: Session): CallHandler {
  return unary(async (request) => {
    await dialer(session, fromBinary(CheckAgentRequestSchema, request).ID);
    return toBinary(CheckAgentResponseSchema, create(CheckAgentResponseSchema));
  });
}

function forwardAgent(session: Session): CallHandler {
  return async ({ stream, headers }) => {
    const agent = await (await dialer(session, String(headers['buildkit.ssh.id'] ?? '')))();
    agent.on('error', () => {}); // its end tells
    try {
      const there = (async () => {
        for await (const chunk of receivedBytes(stream)) agent.write(chunk);
        agent.end();
      })();
      there.catch(() => agent.destroy());
      // The agent's end is the call's end, whatever else is still to be said to it.
      await sendBytes(stream, agent);
    } finally {
      agent.destroy();
    }
  };
}

function pull(session: Session): CallHandler {
  return async ({ stream, headers }) => {
    const id = String(headers.urlpath ?? '').replace(/^\//, '');
    const upload = await session.upload(id);
    if (upload === undefined)
      throw new GrpcError(NOT_FOUND, `there is no upload ${id}, or it was read before`);
    await sendBytes(stream, upload);
  };
}

/** The message in docker's error body. */
function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : text;
  } catch {
    return text.trim();
  }
}
