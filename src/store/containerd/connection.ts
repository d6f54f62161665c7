/** The connection to a containerd, with its services. */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CallOptions, type Client, Code, createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { canceled } from '../../errors/index.ts';
import type { GrpcCall } from '../../grpc/index.ts';
import { Content } from '../../pb/containerd/content_pb.js';
import { Images } from '../../pb/containerd/images_pb.js';
import { Introspection } from '../../pb/containerd/introspection_pb.js';
import { Leases } from '../../pb/containerd/leases_pb.js';
import { Namespaces } from '../../pb/containerd/namespaces_pb.js';
import { Snapshots } from '../../pb/containerd/snapshots_pb.js';
import { Version } from '../../pb/containerd/version_pb.js';
import { breakOf, hasCode, storeError } from './errors.ts';
import { openCall, unaryCalls } from './unary-calls.ts';

/** How long a call waits for a containerd that is restarting. */
const patienceMs = 10_000;

interface CallRules {
  /** The lease that what the call makes is put under. */
  lease?: string;
  /**
   * The call may be made a second time though the first may have been done: true for all that reads, and for what
   * does nothing the second time. Otherwise it is only made again when it was not sent.
   */
  again: boolean;
  /** Do not wait for a containerd that is not there. */
  impatient?: boolean;
}

export class Connection {
  readonly address: string;
  readonly namespace: string;
  readonly content: Client<typeof Content>;
  readonly images: Client<typeof Images>;
  readonly introspection: Client<typeof Introspection>;
  readonly leases: Client<typeof Leases>;
  readonly namespaces: Client<typeof Namespaces>;
  readonly snapshots: Client<typeof Snapshots>;
  readonly version: Client<typeof Version>;
  readonly #sessions: Http2SessionManager;
  readonly #closed = new AbortController();
  #patienceMs: number;
  /** A call has waited for containerd in vain: others need not, until it is back. */
  #down = false;

  /** Connects when first used. `address` is a unix socket's path. */
  constructor(address: string, namespace: string, patience = patienceMs) {
    this.#patienceMs = patience;
    this.address = address;
    this.namespace = namespace;
    this.#sessions = new Http2SessionManager(
      'http://localhost',
      {},
      {
        createConnection: () => connect(address),
        settings: { initialWindowSize: 4 << 20 },
      },
    );
    const { stream } = createGrpcTransport({
      baseUrl: 'http://localhost',
      sessionManager: this.#sessions,
      acceptCompression: [],
    });
    const transport: Transport = { stream, unary: unaryCalls(this.#sessions) };
    this.content = createClient(Content, transport);
    this.images = createClient(Images, transport);
    this.introspection = createClient(Introspection, transport);
    this.leases = createClient(Leases, transport);
    this.namespaces = createClient(Namespaces, transport);
    this.snapshots = createClient(Snapshots, transport);
    this.version = createClient(Version, transport);
  }

  /** Starts a call whose messages are made and read by hand. Throws a ConnectError when there is no connection. */
  open(path: string, lease: string): Promise<GrpcCall> {
    return openCall(this.#sessions, path, headersOf(this.namespace, lease));
  }

  /** The headers of a call: everything is in a namespace, what is made is under a lease. */
  options(lease?: string): CallOptions {
    return { headers: headersOf(this.namespace, lease), signal: this.#closed.signal };
  }

  /**
   * Makes a call, again while containerd restarts and as far as that is safe. Errors are containerd's own
   * (ConnectError), for the caller to tell apart; `failure` makes them ours.
   */
  async raw<T>(rules: CallRules, call: (options: CallOptions) => Promise<T>): Promise<T> {
    const until = Date.now() + (rules.impatient || this.#down ? 0 : this.#patienceMs);
    for (let wait = 20; ; wait = Math.min(wait * 2, 500)) {
      try {
        const answer = await call(this.options(rules.lease));
        this.#down = false;
        return answer;
      } catch (err) {
        if (this.#closed.signal.aborted) throw canceled('the store is closed');
        const cut = breakOf(err);
        this.#down &&= cut !== undefined;
        const retry = cut === 'unsent' || (cut === 'broken' && rules.again);
        if (!retry) throw err;
        if (Date.now() + wait > until) {
          this.#down = true;
          throw err;
        }
      }
      await sleep(wait);
    }
  }

  /** Makes a call; its errors become ours, with `what` as what was being done. */
  async call<T>(what: string, rules: CallRules, call: (options: CallOptions) => Promise<T>): Promise<T> {
    try {
      return await this.raw(rules, call);
    } catch (err) {
      throw this.failure(err, what);
    }
  }

  /** A call whose answer may be that there is no such thing: undefined. */
  async find<T>(what: string, call: (options: CallOptions) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.raw({ again: true }, call);
    } catch (err) {
      if (hasCode(err, Code.NotFound)) return undefined;
      throw this.failure(err, what);
    }
  }

  failure(err: unknown, what: string): Error {
    return storeError(err, what, this.address);
  }

  /** From now on, calls do not wait for a containerd that is not there. */
  hurry(): void {
    this.#patienceMs = 0;
  }

  /** Ends the connection, and with it all calls under way. */
  close(): void {
    this.#closed.abort();
    this.#sessions.abort();
  }
}

function headersOf(namespace: string, lease: string | undefined): Record<string, string> {
  const headers: Record<string, string> = { 'containerd-namespace': namespace };
  if (lease !== undefined) headers['containerd-lease'] = lease;
  return headers;
}
