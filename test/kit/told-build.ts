/** The page on builds that a test tells, event by event: no daemon, no steps; who asks is found out as by a daemon. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { History } from '../../src/api/buildkit/history/history.ts';
import { Jobs } from '../../src/api/buildkit/jobs/jobs.ts';
import type { BuildLog } from '../../src/api/shared/build-log.ts';
import { uiApi } from '../../src/api/ui/server.ts';
import { openAuth } from '../../src/auth/auth.ts';
import { recordStatus } from '../../src/engine/gateway/encode.ts';
import type { DrydockError, SourceLocation } from '../../src/errors/error.ts';
import type { Digest } from '../../src/oci/types.ts';
import { SolveRequestSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';

/** A step that a test tells of. */
export interface ToldStep {
  digest: Digest;
  name: string;
  inputs: Digest[];
  started: number;
}

/** A build that a test tells of. Its owner is nobody in particular, who asks over TCP. */
export class ToldBuild {
  readonly ref = randomUUID();
  readonly log: BuildLog;
  readonly #end: (error?: DrydockError, predicate?: object) => void;
  /** The time of what is told next, in ms since the epoch. */
  now = Date.now();

  constructor(page: TestPage, name: string, options: Record<string, string> = {}) {
    const { log, end } = page.jobs.start('anonymous', this.ref);
    this.log = log;
    const exporters = [{ Type: 'image', Attrs: { name } }];
    const request = create(SolveRequestSchema, {
      Ref: this.ref,
      Frontend: 'dockerfile.v0',
      FrontendAttrs: options,
      Exporters: exporters,
    });
    const record = page.history.started('anonymous', this.ref, request);
    this.#end = (error, predicate) => {
      const predicates = new Map(
        predicate === undefined
          ? []
          : [['', { predicateType: 'https://spdx.dev/Document', predicate: async () => predicate }]],
      );
      record.completed(
        log,
        error === undefined
          ? { response: { 'image.name': name }, predicates }
          : { error: recordStatus(error) },
      );
      end();
    };
  }

  /** The Dockerfile, with the lines of steps. */
  dockerfile(text: string, lines: ReadonlyMap<Digest, number>): void {
    const places = new Map<Digest, SourceLocation>();
    for (const [digest, line] of lines) {
      const place = { line, character: 0 };
      places.set(digest, { filename: 'Dockerfile', text, ranges: [{ start: place, end: place }] });
    }
    this.log.sources({ places });
  }

  start(name: string, inputs: readonly ToldStep[] = []): ToldStep {
    const digest: Digest = `sha256:${createHash('sha256')
      .update(`${name}${inputs.map((each) => each.digest)}`)
      .digest('hex')}`;
    const step = { digest, name, inputs: inputs.map((each) => each.digest), started: this.now };
    this.log.vertex(step);
    return step;
  }

  print(step: ToldStep, text: string, stream: 1 | 2 = 1): void {
    this.log.log({ vertex: step.digest, stream, data: Buffer.from(text), timestamp: this.now });
  }

  /** Says why a step runs. */
  why(step: ToldStep, text: string): void {
    const data = Buffer.from(`not cached: ${text}\n`);
    this.log.log({ vertex: step.digest, stream: 2, data, timestamp: this.now, explains: true });
  }

  done(step: ToldStep, took: number, more: { cached?: boolean; error?: string } = {}): void {
    this.now = Math.max(this.now, step.started + took);
    this.log.vertex({ ...step, completed: step.started + took, ...more });
  }

  /** Ends the build. `predicate` is a bill of materials that is stated of it. */
  end(error?: DrydockError, predicate?: object): void {
    this.#end(error, predicate);
  }
}

/** The page on a port of loopback, for everybody on this machine, as with `--insecure-tcp`. */
export class TestPage {
  readonly history: History;
  readonly jobs = new Jobs();
  /** What is done when the page cancels a build, by its reference. */
  readonly cancels = new Map<string, () => void>();
  readonly #dir = mkdtempSync(join(tmpdir(), 'drydock-page-'));
  readonly #server: Server;
  readonly #auth = openAuth({ policyFile: undefined, log: () => {} });
  readonly #ui: ReturnType<typeof uiApi>;

  private constructor() {
    this.history = new History(join(this.#dir, 'history.db'), { maxEntries: 100_000 });
    this.#ui = uiApi({
      observed: { jobs: this.jobs, history: this.history },
      builds: {
        cancel: (_, ref) => {
          this.cancels.get(ref)?.();
          return 1;
        },
      },
      log: () => {},
      admit: (request, ask) => this.#auth.admit(request, { kind: 'tcp', insecure: true }, ask),
    });
    this.#server = createServer((request, response) => this.#ui.handle(request, response));
  }

  static async open(): Promise<TestPage> {
    const page = new TestPage();
    await new Promise<void>((resolve) => page.#server.listen(0, '127.0.0.1', resolve));
    return page;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}/ui/`;
  }

  async close(): Promise<void> {
    this.#ui.close();
    this.#server.close();
    this.#server.closeAllConnections();
    await this.history.close();
    this.#auth.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
