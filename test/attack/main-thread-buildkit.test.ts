/**
 * BuildKit's API and what is behind it, with records, vertices, files and lines by the tens of thousands: the main
 * thread is to be had again within 50 ms of CPU time.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeStatus, statusMediaType } from '../../src/api/buildkit/history/status-blob.ts';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { BuildLog } from '../../src/api/shared/build-log.ts';
import { readDir } from '../../src/engine/gateway/files.ts';
import { lookLive } from '../../src/fs/live-view.ts';
import { openView } from '../../src/fs/open.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { BuildHistoryRecordSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { atOnce, inTurns } from '../../src/workers/turns.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { longestHold, mostHold, usualHold } from '../kit/thread-time.ts';
import type { ControlCalls } from './control-client.ts';

const many = <T>(count: number, item: (i: number) => T) => Array.from({ length: count }, (_, i) => item(i));

describe('a daemon that has been used a lot', () => {
  let daemon: TestDaemon;
  let client: Worker;
  let asked = 0;

  /** Calls from another thread. */
  const call = <K extends keyof ControlCalls>(name: K, argument: Parameters<ControlCalls[K]>[0]) =>
    new Promise<number>((resolve, reject) => {
      const id = asked++;
      const answered = (answer: { id: number; value?: number; error?: string }) => {
        if (answer.id !== id) return;
        client.off('message', answered);
        if (answer.error !== undefined) reject(new Error(answer.error));
        else resolve(answer.value ?? 0);
      };
      client.on('message', answered);
      client.postMessage({ id, call: name, argument });
    });

  /** Calls a few times; gives what the last one counted. */
  const quickly = async <K extends keyof ControlCalls>(name: K, argument: Parameters<ControlCalls[K]>[0]) => {
    let found = 0;
    const hold = await usualHold(async () => {
      found = await call(name, argument);
    });
    expect(hold).toBeLessThan(mostHold);
    return found;
  };

  beforeAll(async () => {
    daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
    client = new Worker(new URL('./control-client.ts', import.meta.url), { workerData: daemon.socket });
    // As if 10,000 builds had been pinned, ten of them asked for with megabytes of options.
    const db = new DatabaseSync(join(daemon.dir, 'root', 'history.db'));
    const insert = db.prepare(
      'INSERT INTO builds (owner, ref, completed_at, pinned, record) VALUES (?, ?, ?, 1, ?)',
    );
    const vertexes = many(10_000, (i) => ({ digest: digestOf(Buffer.from(`${i}`)), name: `RUN step ${i}` }));
    const log = new BuildLog();
    for (const { digest, name } of vertexes) log.vertex({ digest, name, inputs: [] });
    const blob = atOnce(encodeStatus([...log.messages()]));
    const logs = { mediaType: statusMediaType, digest: digestOf(blob), size: BigInt(blob.length) };
    db.exec('BEGIN');
    for (let i = 0; i < 10_000; i++) {
      const options = { 'build-arg:a': 'b'.repeat(i < 10 ? 2 << 20 : 500) };
      const record = create(BuildHistoryRecordSchema, {
        Ref: `r${i}`,
        Frontend: 'f',
        FrontendAttrs: options,
        logs,
      });
      const at = Date.now() - i;
      const { lastInsertRowid } = insert.run('', `r${i}`, at, toBinary(BuildHistoryRecordSchema, record));
      if (i > 0) continue;
      db.prepare('INSERT INTO blobs (build, digest, size, created_at, data) VALUES (?, ?, ?, ?, ?)').run(
        ...[lastInsertRowid, logs.digest, blob.length, at, gzipSync(blob)],
      );
    }
    db.exec('COMMIT');
    db.close();
    const { cache } = daemon.engine;
    for (let i = 0; i < 10_000; i++) {
      const id = digestOf(Buffer.from(`record ${i}`));
      const parts = { kind: 'definition' as const, op: id, deps: [] };
      cache.save(
        { id, description: `RUN step ${i}`, type: 'regular', results: [{ kind: 'empty' }] as never, size: 1 },
        [{ key: id, parts }],
      );
    }
  });
  afterAll(async () => {
    await client.terminate();
    await daemon.stop();
  });

  test('tells 10,000 records of ended builds', async () => {
    expect(await quickly('history', [])).toBe(10_000);
    expect(await quickly('history', ['status==error', 'ref~=r1.*9,duration<1h'])).toBeGreaterThan(100);
  });

  test('refuses 100,000 filters', async () => {
    await expect(
      quickly(
        'history',
        many(100_000, (i) => `ref==${i}`),
      ),
    ).rejects.toThrow(/longer than 65536/);
    await expect(
      quickly(
        'usage',
        many(100_000, () => ''),
      ),
    ).rejects.toThrow(/longer than 65536/);
  });

  test('tells the progress of a build of 10,000 vertices', async () => {
    expect(await quickly('status', 'r0')).toBe(10_000);
  });

  test('lists and prunes 10,000 cache records', async () => {
    expect(await quickly('usage', [])).toBe(10_000);
    let pruned = 0;
    const hold = await longestHold(async () => {
      pruned = await call('prune', ['description~=step']);
    });
    expect(pruned).toBe(10_000);
    expect(hold).toBeLessThan(mostHold * 2);
  });
});

test('progress of 10,000 vertices with a transfer each, and 100,000 lines of a letter, is told in pieces', async () => {
  const log = new BuildLog();
  const data = Buffer.from('x');
  for (let i = 0; i < 10_000; i++) {
    const digest = digestOf(Buffer.from(`${i}`));
    log.vertex({ digest, name: `step ${i}`, inputs: [] });
    log.status({ vertex: digest, id: 'transferring', name: '', current: 1, total: 2, timestamp: 1 });
  }
  for (let i = 0; i < 100_000; i++) log.log({ vertex: 'sha256:a' as never, timestamp: 1, stream: 1, data });
  let bytes = 0;
  const follow = () =>
    new Promise<void>((resolve) => {
      log.follow({
        write(frames) {
          bytes += frames.length;
          return true;
        },
        end: resolve,
      });
      setImmediate(() => setTimeout(resolve, 500));
    });
  expect(await usualHold(follow)).toBeLessThan(mostHold);
  expect(bytes).toBeGreaterThan(1 << 20);
});

describe('a folder of 100,000 files', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'drydock-large-'));
    mkdirSync(join(dir, 'large'));
    for (let i = 0; i < 100_000; i++) writeFileSync(join(dir, 'large', `file-${i}`), '');
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test.each([
    ['layers', { kind: 'layers', dirs: ['DIR'] }],
    ['folder', { kind: 'folder', dir: 'DIR', rootOwned: true }],
  ])('is listed for a frontend, with a pattern: %s', async (_, shape) => {
    const spec = JSON.parse(JSON.stringify(shape).replace('DIR', dir));
    let found = 0;
    const hold = await usualHold(async () => {
      const view = openView(spec);
      found = (await inTurns(readDir(view, '/large', 'file-1*'))).length;
    });
    expect(found).toBe(11_111);
    expect(hold).toBeLessThan(mostHold);
    const live = await inTurns(lookLive(spec, (view) => readDir(view, '/large', 'file-9999*')));
    expect(live.map(({ path }) => path)).toEqual(['file-9999', ...many(10, (i) => `file-9999${i}`)]);
  });

  test('and one of 20,000 that a client sends', async () => {
    const cli = new Cli();
    const daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
    try {
      const sent = mkdtempSync(join(cli.dir, 'sent-'));
      mkdirSync(join(sent, 'large'));
      for (let i = 0; i < 20_000; i++) writeFileSync(join(sent, 'large', `file-${i}`), '');
      writeFileSync(join(sent, 'Dockerfile'), 'FROM scratch\nCOPY large /large\n');
      const hold = await longestHold(async () => {
        const args = ['--host', daemon.host, 'build', sent];
        expect(await cli.run(args)).toMatchObject({ code: 0 });
      });
      expect(hold).toBeLessThan(mostHold * 2);
    } finally {
      await daemon.stop();
      cli.close();
    }
  }, 300_000);
});
