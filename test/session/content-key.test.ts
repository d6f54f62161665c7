/** One content key: the same files hit each other's COPY cache, however they came. */
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runBuild } from '../../src/engine/build.ts';
import { dockerfileBuild } from '../../src/engine/dockerfile-build.ts';
import { type Engine, engineOn, openEngine } from '../../src/engine/engine.ts';
import type { ContextSource } from '../../src/frontend/types.ts';
import { inProcessSession } from '../../src/session/in-process.ts';
import { SessionManager } from '../../src/session/manager.ts';
import type { Session } from '../../src/session/types.ts';
import { openContainerdStore } from '../../src/store/containerd/open.ts';
import { startContainerd, type TestContainerd } from '../kit/containerd.ts';
import { join } from '../kit/session/duplex-pair.ts';
import { SessionClient } from '../kit/session/session-client.ts';

const dockerfile = 'FROM scratch\nCOPY --chown=1:1 run.sh größe /bin/\nCOPY src /src\n';
let dir: string;
let source: string;
let containerd: TestContainerd;
let engine: Engine;
const manager = new SessionManager();
beforeAll(async () => {
  dir = mkdtempSync(joinPath(tmpdir(), 'drydock-key-'));
  source = joinPath(dir, 'source');
  mkdirSync(joinPath(source, 'src/deep/er'), { recursive: true });
  for (let i = 0; i < 30; i++) writeFileSync(joinPath(source, `src/f${i}`), `file ${i}`);
  writeFileSync(joinPath(source, 'src/deep/er/x'), 'x');
  symlinkSync('deep/er', joinPath(source, 'src/link'));
  writeFileSync(joinPath(source, 'run.sh'), '#!/bin/sh\n');
  chmodSync(joinPath(source, 'run.sh'), 0o755);
  writeFileSync(joinPath(source, 'größe'), 'unicode');
  writeFileSync(joinPath(source, 'Dockerfile'), dockerfile);
  containerd = await startContainerd();
});
afterAll(async () => {
  manager.close();
  await containerd.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Builds, and tells which of the COPY steps were cached. */
async function build(session: Session, context: ContextSource, extra: { dockerfile?: string } = {}) {
  const cached: Record<string, boolean> = {};
  const result = await runBuild(
    engine,
    dockerfileBuild({
      context,
      ...extra,
      ...{
        tags: [],
        outputs: [],
        buildArgs: {},
        labels: {},
        platforms: [],
        noCache: false,
        noCacheFilter: [],
      },
      ...{ pull: 'missing', network: 'none', extraHosts: [], shmSize: 0, ulimits: [], namedContexts: {} },
      ...{ check: false, allow: [], sourceDateEpoch: 0 },
    }),
    session,
    {
      vertex: ({ name, completed, cached: hit }) => {
        if (completed !== undefined && name.includes('COPY')) cached[name] = hit ?? false;
      },
      status: () => {},
      log: () => {},
      warning: () => {},
    },
    new AbortController().signal,
  );
  return { digest: result.descriptor?.digest, hits: Object.values(cached) };
}

const folder = (at = source) =>
  build(inProcessSession({ locals: { context: at } }), { type: 'local', name: 'context' });
const tar = (bytes: Buffer) =>
  build(inProcessSession({ locals: {}, uploads: { up: Readable.from([bytes]) } }), {
    type: 'upload',
    id: 'up',
  });
const synced = async (at = source) => {
  const client = new SessionClient({ dirs: { context: at, dockerfile: at }, sharedKey: at });
  const session = join(manager, client);
  try {
    return { ...(await build(session, { type: 'local', name: 'context' })), sent: client.sent.flat() };
  } finally {
    client.close();
  }
};
const archive = (...args: string[]) =>
  execFileSync('tar', ['-C', source, '-c', ...args], { maxBuffer: 1 << 26 });

const ways: Record<string, () => Promise<{ digest: string | undefined; hits: boolean[] }>> = {
  'file sync': () => synced(),
  'file sync from another folder, with other times and owners': async () => {
    const other = joinPath(dir, 'other');
    cpSync(source, other, { recursive: true, verbatimSymlinks: true });
    utimesSync(joinPath(other, 'src/f1'), 5, 5);
    execFileSync('chown', ['-R', '1234:1234', other]);
    return synced(other);
  },
  'a folder on this host': () => folder(),
  'a tar': () => tar(archive('.')),
  'a gzipped tar': () => tar(gzipSync(archive('.'))),
  'a tar in another order, by another owner': () =>
    tar(archive('--owner=7', '--group=7', '--mtime=@9', 'größe', 'run.sh', 'src', 'Dockerfile')),
  'the client’s stdin': async () => {
    const client = new SessionClient({ uploads: { '/ctx': gzipSync(archive('.')) } });
    const session = join(manager, client);
    try {
      return await build(session, { type: 'remote', url: 'http://buildkit-session/ctx' });
    } finally {
      client.close();
    }
  },
  git: async () => {
    const repo = joinPath(dir, 'repo');
    cpSync(source, repo, { recursive: true, verbatimSymlinks: true });
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', repo, '-c', 'user.name=x', '-c', 'user.email=x@y', ...args], {
        stdio: 'ignore',
      });
    git('init', '-q', '-b', 'main');
    git('add', '.');
    git('commit', '-q', '-m', 'x');
    const server = createServer((socket) => {
      const daemon = spawn('git', ['daemon', '--inetd', '--export-all', `--base-path=${dir}`], {
        stdio: 'pipe',
      });
      socket.pipe(daemon.stdin);
      daemon.stdout.pipe(socket);
      for (const stream of [socket, daemon.stdin]) stream.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const url = `git://127.0.0.1:${port}/repo/.git#main`;
      return await build(inProcessSession({ locals: {} }), { type: 'remote', url });
    } finally {
      server.close();
    }
  },
};

describe.each(['local', 'containerd'])('store/%s', (kind) => {
  beforeAll(async () => {
    for (const copy of ['other', 'repo']) rmSync(joinPath(dir, copy), { recursive: true, force: true });
    writeFileSync(joinPath(source, 'src/f3'), 'file 3');
    const root = joinPath(dir, kind);
    engine =
      kind === 'local'
        ? await openEngine({ root })
        : engineOn(await openContainerdStore({ root, address: containerd.address, namespace: 'keys' }));
  });
  afterAll(() => engine.close());

  test('whatever way the files come first, all others hit', async () => {
    const first = await synced();
    expect(first.hits).toEqual([false, false]);
    for (const [way, run] of Object.entries(ways)) {
      const { hits, digest } = await run();
      expect([way, hits, digest]).toEqual([way, [true, true], first.digest]);
    }
  });

  test('a changed file misses in the step that has it alone, however it is sent', async () => {
    writeFileSync(joinPath(source, 'src/f3'), 'FILE 3');
    const { hits, sent } = await synced();
    expect(hits).toEqual([true, false]);
    // The rest is there from before; a Dockerfile always travels, as its definition asks (`local.differ`).
    expect(sent).toEqual(['Dockerfile', 'src/f3']);
    expect((await tar(archive('.'))).hits).toEqual([true, true]);
    expect((await folder()).hits).toEqual([true, true]);
  });
});
