/** Attestations that a frontend returns are not exported, and a build does not keep silent about it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterAll, expect, test } from 'vitest';
import type { BridgeResult } from '../../src/engine/bridge/types.ts';
import { runBuild } from '../../src/engine/build.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { AttestationSchema } from '../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { inProcessSession } from '../../src/session/in-process.ts';
import { closePool } from '../../src/workers/pool.ts';

const root = mkdtempSync(join(tmpdir(), 'drydock-attested-'));
afterAll(async () => {
  await closePool();
  rmSync(root, { recursive: true, force: true });
});

test('a warning says how many were left out', async () => {
  const engine = await openEngine({ root });
  const warnings: string[] = [];
  const nothing = () => {};
  const sink = {
    vertex: nothing,
    status: nothing,
    log: nothing,
    warning: ({ short }: { short: string }) => void warnings.push(short),
  };
  const message = create(AttestationSchema, { path: '/sbom.json', inTotoPredicateType: 'p' });
  const built = async (result: Partial<BridgeResult>) => {
    const request = {
      frontend: async () => ({ metadata: {}, ...result }),
      outputs: [{ type: 'image' as const, attrs: {} }],
      allow: [],
    };
    const session = inProcessSession({ locals: {} });
    return runBuild(engine, request, session, sink, new AbortController().signal);
  };
  try {
    await built({});
    expect(warnings).toEqual([]);
    await built({ attestations: { 'linux/amd64': [{ message }, { message }] } });
    expect(warnings).toEqual(['the frontend returned attestations, which are not supported: 2 left out']);
  } finally {
    await engine.close();
  }
});
