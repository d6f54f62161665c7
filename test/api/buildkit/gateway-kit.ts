/** An engine with LLBBridge on a socket, and a client of it generated from the .proto files: buildx's side of a build. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Http2Server } from 'node:http2';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Client, createClient, createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import { callerKey } from '../../../src/api/buildkit/caller.ts';
import { Gateways } from '../../../src/api/buildkit/gateway/gateways.ts';
import { buildIdHeader, gatewayService } from '../../../src/api/buildkit/gateway/service.ts';
import { identityKey } from '../../../src/auth/identity.ts';
import type { Authority } from '../../../src/auth/types.ts';
import { Bridge } from '../../../src/engine/bridge/bridge.ts';
import type { BridgeResult } from '../../../src/engine/bridge/types.ts';
import { BuildCaches } from '../../../src/engine/caches.ts';
import { type Engine, openEngine } from '../../../src/engine/engine.ts';
import { frontends } from '../../../src/engine/frontends/table.ts';
import { Gateway } from '../../../src/engine/gateway/gateway.ts';
import { encodingErrors } from '../../../src/engine/gateway/serve.ts';
import { Rules } from '../../../src/engine/rules.ts';
import { LLBBridge } from '../../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Definition } from '../../../src/pb/solver/pb/ops_pb.js';
import type { LogEvent, VertexEvent, WarningEvent } from '../../../src/progress/events.ts';
import { type InProcessOptions, inProcessSession } from '../../../src/session/in-process.ts';
import { Job, type LoadDefinition } from '../../../src/solver/job.ts';
import { busyboxRoot } from '../../kit/busybox.ts';

export interface GatewayBuild {
  /** Calls carry the build's id. */
  readonly client: Client<typeof LLBBridge>;
  readonly bridge: Bridge;
  /** What the client returned. */
  readonly returned: Promise<BridgeResult>;
  readonly vertices: Map<string, VertexEvent>;
  readonly logs: LogEvent[];
  readonly warnings: WarningEvent[];
  end(): Promise<void>;
}

export interface BuildSetup extends Partial<InProcessOptions> {
  inputs?: Record<string, Definition>;
  allow?: string[];
}

/** Whose all builds are. */
const caller: Authority = { identity: { kind: 'anonymous' }, scopes: new Set(['build']), allow: new Set() };

export class GatewayKit {
  readonly dir = mkdtempSync(join(tmpdir(), 'drydock-gateway-'));
  engine!: Engine;
  readonly gateways = new Gateways();
  #server!: Http2Server;
  readonly socket = join(this.dir, 'socket');
  #builds = 0;

  async open(options: Omit<Parameters<typeof openEngine>[0], 'root'> = {}): Promise<void> {
    this.engine = await openEngine({ root: join(this.dir, 'root'), ...options });
    const handler = connectNodeAdapter({
      routes: (router) => router.service(LLBBridge, gatewayService(this.gateways)),
      interceptors: [encodingErrors()],
      contextValues: () => createContextValues().set(callerKey, caller),
    });
    this.#server = createServer(handler);
    await new Promise<void>((resolve) => this.#server.listen(this.socket, resolve));
  }

  async close(): Promise<void> {
    this.#server.close();
    await this.engine.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** A folder with a busybox root filesystem, for `local://root`. */
  busybox(): string {
    const root = join(this.dir, 'busybox');
    mkdirSync(root, { recursive: true });
    busyboxRoot(root);
    return root;
  }

  clientOf(id: string | undefined): Client<typeof LLBBridge> {
    const transport = createGrpcTransport({
      baseUrl: 'http://localhost',
      nodeOptions: { createConnection: () => dial(this.socket) },
      interceptors: [
        (next) => (request) => {
          if (id !== undefined) request.header.set(buildIdHeader, id);
          return next(request);
        },
      ],
    });
    return createClient(LLBBridge, transport);
  }

  /** What Control.Solve does for a client that is its own frontend. */
  async build(setup: BuildSetup = {}): Promise<GatewayBuild> {
    const { engine } = this;
    const id = `build-${++this.#builds}`;
    const vertices = new Map<string, VertexEvent>();
    const logs: LogEvent[] = [];
    const warnings: WarningEvent[] = [];
    const sink = {
      vertex: (event: VertexEvent) => void vertices.set(event.digest, event),
      status: () => {},
      log: (event: LogEvent) => void logs.push(event),
      warning: (event: WarningEvent) => void warnings.push(event),
    };
    const session = inProcessSession({ locals: {}, ...setup });
    const rules = new Rules({ allow: setup.allow ?? [], devices: engine.devices });
    const load: LoadDefinition = (definition, stop) => rules.load(definition, stop);
    const job = new Job(session, sink, new AbortController().signal, { allow: rules.allow, load });
    const lease = `test-${id}`;
    await engine.store.leases.create(lease);
    const caches = new BuildCaches(engine, job, lease);
    const bridge = new Bridge({ engine, job, lease, rules, frontends, caches });
    const gateway = new Gateway(bridge, setup.inputs);
    const unregister = this.gateways.register(identityKey(caller.identity), id, gateway);
    return {
      client: this.clientOf(id),
      bridge,
      returned: gateway.returned,
      vertices,
      logs,
      warnings,
      end: async () => {
        unregister();
        await gateway.close();
        await engine.solver.release(job);
        caches.close();
        await engine.store.leases.delete(lease);
        await session.close();
      },
    };
  }
}
