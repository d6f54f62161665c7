/**
 * Floods from those who can connect and nothing else: they hold no memory, do not keep the daemon from others, and are
 * cut off. What a large build's client does in earnest is none.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { createToken } from '../../src/auth/token-hash.ts';
import { frame } from '../../src/grpc/frame.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';

const flooder = new URL('./flooder.ts', import.meta.url).pathname;
const friend = createToken();
const authorization = `Bearer ${friend.token}`;
let dir: string;
let daemon: TestDaemon;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const held = () => {
  collectGarbage();
  const { rss, external, heapUsed } = process.memoryUsage();
  return { rss, used: external + heapUsed };
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-floods-'));
  const policyFile = join(dir, 'policy.json');
  // Nobody but the holder of one token may do anything: whoever floods is a stranger.
  const policy = {
    rules: [{ match: { token: 'friend' }, scopes: ['*'] }],
    tokens: [{ name: 'friend', hash: friend.hash }],
  };
  writeFileSync(policyFile, JSON.stringify(policy), { mode: 0o600 });
  daemon = await startTestDaemon({ policyFile, logLevel: 'warn', grpc: (host) => buildkitApi(host) });
});
afterAll(async () => {
  await daemon.stop();
  rmSync(dir, { recursive: true, force: true });
});

interface Outcome {
  /** Connections of the flood that were cut off, and all. */
  closed: number;
  of: number;
  /** Most time of the processor that one turn of the event loop took, ms: how long all else had to wait. */
  late: number;
  /** Bytes more than before, at most, meanwhile. */
  grown: number;
  /** Answers to others on connections of their own meanwhile: statuses. */
  pings: Set<number>;
  /** Connections that the daemon had at once, at most. */
  open: number;
}

async function under(kind: string, seconds = 1): Promise<Outcome> {
  const before = held();
  let late = 0;
  let spent = process.threadCpuUsage();
  const turns = setInterval(() => {
    const { user, system } = process.threadCpuUsage(spent);
    late = Math.max(late, (user + system) / 1000);
    spent = process.threadCpuUsage();
  }, 5);
  let grown = 0;
  const pings = new Set<number>();
  let open = 0;
  const flooding = promisify(execFile)(process.execPath, [flooder, daemon.socket, kind, String(seconds)]);
  let over = false;
  const ended = flooding.finally(() => {
    over = true;
  });
  while (!over) {
    const { status, text } = await daemon.ask('GET', '/metrics', { headers: { authorization } });
    pings.add(status);
    open = Math.max(open, Number(/^drydock_connections (\d+)/m.exec(text)?.[1]));
    grown = Math.max(grown, process.memoryUsage().rss - before.rss);
    await sleep(50);
  }
  clearInterval(turns);
  const { closed, of } = JSON.parse((await ended).stdout) as { closed: number; of: number };
  return { closed, of, late, grown, pings, open };
}

describe('a flood of', () => {
  test.each([
    ['messages that never end, on a method that is open to all', 'streams'],
    ['calls that are broken off at once', 'resets'],
    ['settings', 'settings'],
    ['pings', 'pings'],
    ['large headers', 'headers'],
    ['headers that never end', 'continuations'],
  ])('%s holds no memory and lets others be answered', async (_, kind) => {
    const { late, grown, pings, closed } = await under(kind, kind === 'streams' ? 1 : 20);
    expect([...pings]).toEqual([200]);
    expect(late).toBeLessThan(1000);
    expect(grown).toBeLessThan(300 << 20);
    expect(closed).toBe(kind === 'streams' ? 0 : 4);
  });

  test.each([
    ['connections that say nothing', 'silence'],
    ['requests whose headers never end', 'loris'],
    ['calls whose headers never end', 'half'],
  ])('%s pushes out its own, and nobody who was let in', async (_, kind) => {
    const known = connectHttp2('http://localhost', { createConnection: () => connect(daemon.socket) });
    await unary(known, '/moby.buildkit.v1.Control/Info');
    const { pings, open } = await under(kind);
    expect([...pings]).toEqual([200]);
    expect(open).toBeGreaterThan(100);
    expect(open).toBeLessThan(300);
    expect(await unary(known, '/moby.buildkit.v1.Control/Info')).toBe('0');
    known.destroy();
  });
});

/** `grpc-status` of a call with one message. */
function unary(session: ClientHttp2Session, path: string, message = Buffer.alloc(0)): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = call(session, path);
    const read = (headers: Record<string, unknown>) => {
      if (headers['grpc-status'] !== undefined) resolve(String(headers['grpc-status']));
    };
    stream.on('response', read);
    stream.on('trailers', read);
    stream.on('error', reject);
    stream.on('close', () => reject(new Error('no status')));
    stream.resume();
    stream.end(frame(message));
  });
}

const call = (session: ClientHttp2Session, path: string) =>
  session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization,
  });

/** A message of so many MB: an unknown field of a request, which is read whole, and ignored. */
function large(megabytes: number): Buffer<ArrayBuffer> {
  const size = megabytes << 20;
  const length = [
    (size & 0x7f) | 0x80,
    ((size >> 7) & 0x7f) | 0x80,
    ((size >> 14) & 0x7f) | 0x80,
    size >> 21,
  ];
  return Buffer.concat([Buffer.of(0xfa, 0x01, ...length), randomBytes(size)]);
}

describe('what is no flood:', () => {
  let session: ClientHttp2Session;
  beforeAll(() => {
    session = connectHttp2('http://localhost', { createConnection: () => connect(daemon.socket) });
  });
  afterAll(() => session.destroy());

  test('100 followers of builds on one connection, all let go of at once, twice', async () => {
    for (let round = 0; round < 2; round++) {
      const followers = Array.from({ length: 100 }, (_, i) => {
        const stream = call(session, '/moby.buildkit.v1.Control/ListenBuildHistory');
        stream.on('error', () => {});
        // `Ref` is field 2, `ActiveOnly` field 1.
        stream.end(frame(Buffer.concat([Buffer.of(8, 1, 18, 4), Buffer.from(`r${100 + i}`)])));
        return stream;
      });
      await sleep(300);
      for (const stream of followers) stream.close(8);
      expect(await unary(session, '/moby.buildkit.v1.Control/Info')).toBe('0');
    }
  });

  test('a message of 10 MB at once on a new connection', async () => {
    const fresh = connectHttp2('http://localhost', { createConnection: () => connect(daemon.socket) });
    expect(await unary(fresh, '/moby.buildkit.v1.Control/Info', large(10))).toBe('0');
    fresh.destroy();
  });

  test('300 short calls, 100 at a time', async () => {
    for (let i = 0; i < 3; i++) {
      const all = Array.from({ length: 100 }, () => unary(session, '/moby.buildkit.v1.Control/Info'));
      expect(new Set(await Promise.all(all))).toEqual(new Set(['0']));
    }
  });
});
