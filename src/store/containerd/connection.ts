/** The connection to a containerd and its services. */
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
  /** The lease under which the call puts the things that it makes. */
  lease?: string;
  /**
   * The call may be sent a second time though the first may have been done: true for calls that read, and for calls
   * that change nothing the second time. Any other call is repeated only when it was never sent.
   */
  again: boolean;
  /** Do not wait for a containerd that is away. */
  impatient?: boolean;
}

/** One connection to a containerd, in one namespace. Calls wait while containerd restarts. */
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
  /** Another call has waited for containerd in vain; the next ones do not wait until it is back. */
  #down = false;

  /** Makes a connection that opens when it is first used. `address` is the path of a unix socket. */
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

  /** The headers of a call, which name the namespace and the lease for new things. */
  options(lease?: string): CallOptions {
    return { headers: headersOf(this.namespace, lease), signal: this.#closed.signal };
  }

  /**
   * Makes a call, and repeats it while containerd restarts as far as that is safe. Throws containerd's own errors
   * (ConnectError), for callers that tell them apart; `failure` translates them.
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

  /** Makes a call and translates its errors. `what` tells them what was being done. */
  async call<T>(what: string, rules: CallRules, call: (options: CallOptions) => Promise<T>): Promise<T> {
    try {
      return await this.raw(rules, call);
    } catch (err) {
      throw this.failure(err, what);
    }
  }

  /** Makes a call that looks for a thing; undefined when containerd does not have it. */
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

  /** From now on, calls do not wait for a containerd that is away. */
  hurry(): void {
    this.#patienceMs = 0;
  }

  /** Ends the connection and all calls under way. */
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
