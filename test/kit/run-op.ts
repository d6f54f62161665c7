/** Runs one op outside a solver, as the solver would: cache map, then exec, then release. */

import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { DeviceRegistry } from '../../src/cdi/registry.ts';
import { Emulation } from '../../src/emulation/emulation.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { OpDeps } from '../../src/ops/deps.ts';
import { OpSchema, type Op as PbOp } from '../../src/pb/solver/pb/ops_pb.js';
import type { Session } from '../../src/session/types.ts';
import type { CacheMap, OpContext, OpMaker, Vertex } from '../../src/solver/types.ts';
import type { SourceDeps } from '../../src/source/deps.ts';
import type { Ref } from '../../src/store/ref.ts';
import type { Workshop } from './workshop.ts';

export interface RunOptions {
  session?: Partial<Session>;
  signal?: AbortSignal;
  inputs?: Ref[];
  /** Only the cache map, as for a cache hit. */
  mapOnly?: boolean;
}

export interface RunResult {
  map: CacheMap;
  refs: Ref[];
  log: string;
  /** What the solver does when the last build lets go. */
  release(): Promise<void>;
}

const nothing = async () => undefined;

/** A vertex of an op whose inputs are made up. */
export function vertexOf(op: PbOp['op'], inputs = 0): Vertex {
  const below: Vertex = {
    digest: digestOf('below'),
    op: create(OpSchema, {}),
    inputs: [],
    metadata: undefined,
    name: 'below',
    source: undefined,
  };
  return {
    digest: digestOf('vertex'),
    op: create(OpSchema, { op }),
    inputs: Array.from({ length: inputs }, (_, index) => ({ vertex: below, index })),
    metadata: undefined,
    name: 'step',
    source: undefined,
  };
}

export async function runOp(
  shop: Workshop,
  maker: OpMaker<OpDeps & SourceDeps>,
  op: PbOp['op'],
  options: RunOptions = {},
): Promise<RunResult> {
  const inputs = options.inputs ?? [];
  const vertex = vertexOf(op, inputs.length);
  const deps: OpDeps & SourceDeps = {
    store: shop.store,
    cache: shop.cache,
    refs: shop.refs,
    registry: shop.registry,
    devices: new DeviceRegistry({ disabled: true }),
    emulation: new Emulation(),
    executor: {
      expect: () => () => {},
      run: async () => {
        throw new Error('no process is run here');
      },
      close: () => {},
    },
    solveNested: async () => undefined,
  };
  let log = '';
  const cleanups: (() => void | Promise<void>)[] = [];
  const ctx: OpContext = {
    vertex,
    session: {
      id: randomUUID(),
      local: nothing,
      upload: nothing,
      secret: nothing,
      ssh: nothing,
      credentials: nothing,
      ...options.session,
    },
    progress: {
      digest: vertex.digest,
      report: () => {},
      log: (_, data) => {
        log += data.toString();
      },
      warn: () => {},
    },
    signal: options.signal ?? new AbortController().signal,
    lease: 'test',
    onRelease: (cleanup) => cleanups.push(cleanup),
  };
  const release = async () => {
    for (const cleanup of cleanups.splice(0)) await cleanup();
  };
  try {
    const made = maker(vertex, deps);
    const map = await made.cacheMap(ctx);
    const refs = options.mapOnly ? [] : await made.exec(inputs, ctx);
    return { map, refs, log, release };
  } catch (err) {
    await release();
    throw err;
  }
}

/** Runs a source op. */
export function runSource(
  shop: Workshop,
  maker: OpMaker<OpDeps & SourceDeps>,
  identifier: string,
  attrs: Record<string, string> = {},
  options: RunOptions = {},
): Promise<RunResult> {
  const op = create(OpSchema, { op: { case: 'source', value: { identifier, attrs } } }).op;
  return runOp(shop, maker, op, options);
}
