/**
 * A build client's session, as docker, buildx and buildctl have one: a gRPC server on a connection that it has opened,
 * with its folders, outputs, secrets, agents, uploads and registry accounts. `calls` and `sent` tell what it was asked.
 */
import { createPrivateKey, createPublicKey, randomUUID, sign } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { withHead } from '../../../src/grpc/headed-stream.ts';
import { nameOf } from '../../../src/linux/names.ts';
import * as auth from '../../../src/pb/session/auth_pb.js';
import { BytesMessageSchema } from '../../../src/pb/session/filesync_pb.js';
import * as secrets from '../../../src/pb/session/secrets_pb.js';
import * as ssh from '../../../src/pb/session/ssh_pb.js';
import { type Blobs, contentHandlers } from './content.ts';
import { receiveFolder, sendFolder } from './files.ts';
import { type Call, GrpcServer, type Handler, Status } from './grpc-server.ts';

export interface SessionClientOptions {
  id?: string;
  name?: string;
  sharedKey?: string;
  /** Whether it says which methods it serves; default true. */
  listed?: boolean;
  /** FileSync: name → folder. */
  dirs?: Record<string, string>;
  /** FileSync.TarStream instead: name → a tar. */
  tars?: Record<string, Buffer>;
  /** FileSend: the output's number → a folder or a file. Clients of old have one, whose number is 0. */
  outputs?: Record<number, { dir: string } | { file: string } | 'exists'>;
  /** One that is a promise makes whoever asks for it wait. */
  secrets?: Record<string, string | Buffer | Promise<string>>;
  /** Agent's ID → its socket. */
  ssh?: Record<string, string>;
  /** Upload's path, `/id` → what it gives. */
  uploads?: Record<string, Buffer | Readable>;
  /** Registry host → account; tokens: it gets them itself. */
  accounts?: Record<string, { username: string; secret: string }>;
  tokens?: (request: auth.FetchTokenRequest) => { token: string; expiresIn?: number };
  /** Seed of the key that names the account to those who share tokens; 32 bytes. */
  accountSeed?: Buffer;
  /** Store's ID → its blobs: OCI layouts that it offers, and `export`, which outputs go to. */
  stores?: Record<string, Blobs>;
  /** More handlers, or others in place of these. */
  handlers?: Record<string, Handler>;
  /** HTTP/2 window, bytes: how much may be sent to it ahead. */
  window?: number;
}

export class SessionClient {
  readonly id: string;
  /** Paths of files whose bytes were asked for, per transfer. */
  readonly sent: string[][] = [];
  /** Metadata of archives that came, `exporter-md-` left out. */
  readonly metadata: Record<string, string>[] = [];
  readonly #options: SessionClientOptions;
  readonly #server: GrpcServer;
  readonly #methods: string[];
  readonly #connections = new Set<Duplex>();

  constructor(options: SessionClientOptions = {}) {
    this.id = options.id ?? randomUUID();
    this.#options = options;
    const handlers = new Map([...this.#handlers(), ...Object.entries(options.handlers ?? {})]);
    this.#methods = [...handlers.keys()];
    this.#server = new GrpcServer(handlers, options.window);
  }

  /** What it was asked, in order. */
  get calls(): GrpcServer['calls'] {
    return this.#server.calls;
  }

  /** The headers (or metadata) that describe it when it connects. */
  get headers(): IncomingHttpHeaders {
    const { name = 'app', sharedKey = '', listed = true } = this.#options;
    return {
      'x-docker-expose-session-uuid': this.id,
      'x-docker-expose-session-name': name,
      'x-docker-expose-session-sharedkey': sharedKey,
      ...(listed ? { 'x-docker-expose-session-grpc-method': this.#methods } : {}),
    };
  }

  /** Answers on a connection whose other end is the gRPC client. */
  serve(connection: Duplex): void {
    this.#connections.add(connection);
    this.#server.serve(connection);
  }

  /** `POST /session` on a daemon's unix socket, and answers on what it becomes. Rejects with the daemon's words. */
  async connect(socketPath: string, path = '/session'): Promise<void> {
    const request = httpRequest({
      method: 'POST',
      path,
      createConnection: () => connect(socketPath),
      headers: { ...this.headers, connection: 'Upgrade', upgrade: 'h2c' },
    });
    request.end();
    const connection = await new Promise<Duplex>((resolve, reject) => {
      request.on('upgrade', (response, socket, head) => {
        if (response.headers.upgrade !== 'h2c') reject(new Error(`upgraded to ${response.headers.upgrade}`));
        resolve(withHead(socket, head));
      });
      request.on('response', (response) => {
        let text = '';
        response.on('data', (chunk) => (text += chunk));
        response.on('end', () => reject(new Error(`${response.statusCode} ${text}`)));
      });
      request.on('error', reject);
    });
    this.serve(connection);
  }

  /** Ends the session, without a word. */
  close(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.destroy();
  }

  *#handlers(): Generator<[string, Handler]> {
    const { dirs, tars, outputs, secrets: values, ssh: agents, uploads, accounts, tokens } = this.#options;
    if (dirs) yield ['/moby.filesync.v1.FileSync/DiffCopy', (call) => this.#sendFolder(call, dirs)];
    if (tars) yield ['/moby.filesync.v1.FileSync/TarStream', (call) => sendTar(call, tars)];
    if (outputs) yield ['/moby.filesync.v1.FileSend/DiffCopy', (call) => this.#receive(call, outputs)];
    if (values) yield ['/moby.buildkit.secrets.v1.Secrets/GetSecret', (call) => secret(call, values)];
    if (agents) {
      yield ['/moby.sshforward.v1.SSH/CheckAgent', (call) => checkAgent(call, agents)];
      yield ['/moby.sshforward.v1.SSH/ForwardAgent', (call) => forward(call, agents)];
    }
    if (uploads) yield ['/moby.upload.v1.Upload/Pull', (call) => pull(call, uploads)];
    if (this.#options.stores) yield* contentHandlers(this.#options.stores);
    if (accounts) yield ['/moby.filesync.v1.Auth/Credentials', (call) => credentials(call, accounts)];
    if (tokens) {
      yield ['/moby.filesync.v1.Auth/FetchToken', (call) => fetchToken(call, tokens)];
      yield ['/moby.filesync.v1.Auth/GetTokenAuthority', (call) => this.#authority(call)];
      yield ['/moby.filesync.v1.Auth/VerifyTokenAuthority', (call) => this.#verify(call)];
    }
  }

  async #sendFolder(call: Call, dirs: Record<string, string>): Promise<void> {
    const name = listOf(call, 'dir-name')?.[0] ?? '';
    const dir = dirs[name];
    if (dir === undefined) throw new Status(5, `no access allowed to dir ${JSON.stringify(name)}`);
    const files: string[] = [];
    this.sent.push(files);
    const select = {
      includes: listOf(call, 'include-patterns'),
      excludes: listOf(call, 'exclude-patterns'),
      followPaths: listOf(call, 'followpaths'),
    };
    await sendFolder(call, dir, select, (path) => files.push(path));
  }

  async #receive(call: Call, outputs: NonNullable<SessionClientOptions['outputs']>): Promise<void> {
    const id = Number(call.headers['buildkit-attachable-exporter-id'] ?? 0);
    const output = outputs[id];
    if (output === undefined) throw new Status(2, `exporter ${id} not found`);
    if (output === 'exists') throw new Status(6, 'target already exists');
    if ('dir' in output) return receiveFolder(call, output.dir);
    const prefix = 'exporter-md-';
    const metadata = Object.entries(call.headers).filter(([key]) => key.startsWith(prefix));
    this.metadata.push(
      Object.fromEntries(metadata.map(([key, value]) => [key.slice(prefix.length), String(value)])),
    );
    const file = createWriteStream(output.file);
    for await (const message of call.messages) {
      const { data } = fromBinary(BytesMessageSchema, message);
      if (!file.write(data)) await new Promise((resolve) => file.once('drain', resolve));
    }
    await new Promise<void>((resolve) => file.end(resolve));
  }

  #key() {
    const seed = this.#options.accountSeed ?? Buffer.alloc(32, this.id);
    // RFC 8410's wrapping of a bare Ed25519 seed.
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  }

  async #authority(call: Call): Promise<void> {
    await unary(call, auth.GetTokenAuthorityRequestSchema, () => {
      const { x } = createPublicKey(this.#key()).export({ format: 'jwk' });
      return toBinary(
        auth.GetTokenAuthorityResponseSchema,
        create(auth.GetTokenAuthorityResponseSchema, { PublicKey: Buffer.from(String(x), 'base64url') }),
      );
    });
  }

  async #verify(call: Call): Promise<void> {
    await unary(call, auth.VerifyTokenAuthorityRequestSchema, ({ Payload }) =>
      toBinary(
        auth.VerifyTokenAuthorityResponseSchema,
        create(auth.VerifyTokenAuthorityResponseSchema, {
          Signed: Buffer.concat([sign(null, Payload, this.#key()), Payload]),
        }),
      ),
    );
  }
}

/** A list in a call's metadata, as clients decode it: Node joins what is repeated by `, `. */
function listOf(call: Call, key: string): string[] | undefined {
  const value = call.headers[key];
  if (value === undefined) return undefined;
  const values = (Array.isArray(value) ? value : [value]).flatMap((line) => line.split(', '));
  const plain = call.headers[`${key}-encoded`] !== '1';
  if (plain) return values.map((text) => Buffer.from(text, 'latin1').toString());
  return values.map((text) => nameOf(Buffer.from(unescape(text.replaceAll('+', ' ')), 'latin1')));
}

type Schema = Parameters<typeof fromBinary>[0];

async function unary<S extends Schema>(
  call: Call,
  schema: S,
  answer: (request: ReturnType<typeof fromBinary<S>>) => Uint8Array | Promise<Uint8Array>,
): Promise<void> {
  for await (const message of call.messages) {
    await call.send(await answer(fromBinary(schema, message)));
    return;
  }
}

async function sendTar(call: Call, tars: Record<string, Buffer>): Promise<void> {
  const name = listOf(call, 'dir-name')?.[0] ?? '';
  const tar = tars[name];
  if (tar === undefined) throw new Status(5, `no access allowed to dir ${JSON.stringify(name)}`);
  await sendBytes(call, Readable.from([tar]));
}

async function sendBytes(call: Call, bytes: Readable): Promise<void> {
  for await (const data of bytes) {
    for (let at = 0; at < data.length; at += 32 * 1024) {
      const part = (data as Buffer).subarray(at, at + 32 * 1024);
      await call.send(toBinary(BytesMessageSchema, create(BytesMessageSchema, { data: part })));
    }
  }
}

async function secret(call: Call, values: Record<string, string | Buffer | Promise<string>>): Promise<void> {
  await unary(call, secrets.GetSecretRequestSchema, async ({ ID }) => {
    const value = await values[ID];
    if (value === undefined) throw new Status(5, `secret ${ID}: not found`);
    const data = Buffer.from(value);
    return toBinary(secrets.GetSecretResponseSchema, create(secrets.GetSecretResponseSchema, { data }));
  });
}

async function checkAgent(call: Call, agents: Record<string, string>): Promise<void> {
  await unary(call, ssh.CheckAgentRequestSchema, ({ ID }) => {
    if (agents[ID] === undefined) throw new Status(2, `unset ssh forward key ${ID}`);
    return toBinary(ssh.CheckAgentResponseSchema, create(ssh.CheckAgentResponseSchema));
  });
}

async function forward(call: Call, agents: Record<string, string>): Promise<void> {
  const socket = agents[String(call.headers['buildkit.ssh.id'] ?? 'default')];
  if (socket === undefined) throw new Status(2, 'unset ssh forward key');
  const agent = connect(socket);
  const back = sendBytes(call, agent);
  for await (const message of call.messages) agent.write(fromBinary(BytesMessageSchema, message).data);
  agent.end();
  await back;
}

async function pull(call: Call, uploads: Record<string, Buffer | Readable>): Promise<void> {
  const path = String(call.headers.urlpath);
  const upload = uploads[path];
  if (upload === undefined) throw new Status(2, `no http response from path ${path}`);
  delete uploads[path];
  await sendBytes(call, upload instanceof Readable ? upload : Readable.from([upload]));
}

async function credentials(
  call: Call,
  accounts: NonNullable<SessionClientOptions['accounts']>,
): Promise<void> {
  await unary(call, auth.CredentialsRequestSchema, ({ Host }) => {
    const account = accounts[Host];
    return toBinary(
      auth.CredentialsResponseSchema,
      create(auth.CredentialsResponseSchema, {
        Username: account?.username ?? '',
        Secret: account?.secret ?? '',
      }),
    );
  });
}

async function fetchToken(call: Call, tokens: NonNullable<SessionClientOptions['tokens']>): Promise<void> {
  await unary(call, auth.FetchTokenRequestSchema, (request) => {
    const { token, expiresIn = 0 } = tokens(request);
    return toBinary(
      auth.FetchTokenResponseSchema,
      create(auth.FetchTokenResponseSchema, { Token: token, ExpiresIn: BigInt(expiresIn) }),
    );
  });
}
