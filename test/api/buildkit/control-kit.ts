/** A daemon that serves BuildKit's API, and clients of it generated from the .proto files: buildctl's side. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { dirname, join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Client, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { buildkitApi } from '../../../src/api/buildkit/server.ts';
import type { BuildkitOptions } from '../../../src/api/buildkit/services.ts';
import type { DaemonConfig } from '../../../src/daemon/config.ts';
import {
  BytesMessageSchema,
  Control,
  type SolveRequestSchema,
} from '../../../src/pb/moby/buildkit/v1/control_pb.js';
import type { StatusResponse } from '../../../src/pb/moby/buildkit/v1/status_pb.js';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { SessionClient, type SessionClientOptions } from '../../kit/session/session-client.ts';

export interface Solved {
  response: Record<string, string>;
  /** What Status told meanwhile. */
  status: StatusResponse[];
  ref: string;
}

export class ControlKit {
  readonly daemon: TestDaemon;
  readonly transport: Transport;
  readonly control: Client<typeof Control>;

  private constructor(daemon: TestDaemon, token?: string) {
    this.daemon = daemon;
    this.transport = transportOver(() => dial(daemon.socket), token);
    this.control = createClient(Control, this.transport);
  }

  /** A client of the same daemon that shows this token with every call. */
  as(token: string): ControlKit {
    return new ControlKit(this.daemon, token);
  }

  static async start(config: Partial<DaemonConfig>, options: BuildkitOptions = {}): Promise<ControlKit> {
    return new ControlKit(await startTestDaemon({ ...config, grpc: (host) => buildkitApi(host, options) }));
  }

  /** A folder with files. */
  folder(files: Record<string, string>): string {
    const dir = mkdtempSync(join(this.daemon.dir, 'files-'));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, name)), { recursive: true });
      writeFileSync(join(dir, name), text);
    }
    return dir;
  }

  /** Opens a session by Control.Session, as buildctl does. */
  session(options: SessionClientOptions): SessionClient {
    const client = new SessionClient(options);
    const [ours, theirs] = duplexPair();
    client.serve(theirs);
    const headers = new Headers();
    for (const [name, value] of Object.entries(client.headers)) {
      for (const each of [value].flat()) headers.append(name, String(each));
    }
    void this.#carry(ours, headers);
    return client;
  }

  async #carry(stream: Duplex, headers: Headers): Promise<void> {
    const sent = async function* () {
      for await (const data of stream) yield create(BytesMessageSchema, { data: data as Buffer });
    };
    try {
      for await (const { data } of this.control.session(sent(), { headers })) stream.write(data);
    } catch {
      // The daemon or the test has ended it.
    } finally {
      stream.destroy();
    }
  }

  /** Solve with Status beside it. Rejects with what Solve rejects with. */
  async solve(
    request: MessageInitShape<typeof SolveRequestSchema>,
    session: SessionClientOptions = {},
  ): Promise<Solved> {
    const client = this.session(session);
    const ref = request.Ref || randomUUID();
    const status: StatusResponse[] = [];
    let over = false;
    const watch = async (): Promise<void> => {
      try {
        for await (const message of this.control.status({ Ref: ref })) status.push(message);
      } catch (err) {
        // A large definition may still be on its way: this process encodes it, and reads it.
        if (over || !String(err).includes('no such job')) throw err;
        await watch();
      }
    };
    const watching = watch();
    watching.catch(() => {});
    try {
      const { ExporterResponse } = await this.control.solve({ Ref: ref, Session: client.id, ...request });
      over = true;
      await watching;
      return { response: ExporterResponse, status, ref };
    } finally {
      over = true;
      await watching.catch(() => {});
      client.close();
    }
  }
}

export function transportOver(open: () => Duplex, token?: string): Transport {
  return createGrpcTransport({
    baseUrl: 'http://localhost',
    interceptors: [
      (next) => (request) => {
        if (token !== undefined) request.header.set('authorization', `Bearer ${token}`);
        return next(request);
      },
    ],
    nodeOptions: { createConnection: open as () => ReturnType<typeof dial> },
  });
}

/** What a call fails with. */
export async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (err) {
    return ConnectError.from(err);
  }
  throw new Error('the call did not fail');
}

/** The typed details of a failure: their JSON by type. */
export function detailsOf(err: ConnectError): Record<string, unknown> {
  return Object.fromEntries(
    err.details.map((detail) => {
      if ('desc' in detail) throw new Error('not from the wire');
      return [detail.type, JSON.parse(Buffer.from(detail.value).toString())];
    }),
  );
}
