/**
 * A step swaps a folder in a cache that it shares for a symlink to the host, over and over, while other steps mount what
 * is there, or mount on it. Whatever they get, it is never the host's: paths in what others write are walked once, and
 * mounted by what they led to (CVE-2024-23651, CVE-2024-45310 and their kind).
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DrydockError } from '../../src/errors/error.ts';
import type { ExecMount } from '../../src/executor/types.ts';
import { Harness } from '../executor/harness.ts';
import { Builds } from '../kit/builds.ts';
import { onStores } from '../kit/stores.ts';

let h: Harness;
/** A folder of the host that no step was given. */
let victim: string;
/** What the steps share. */
let shared: string;
let attempts = 0;

beforeAll(() => {
  h = new Harness();
});
afterAll(() => h.close());
beforeEach(() => {
  const dir = join(h.dir, `attempt${++attempts}`);
  victim = join(dir, 'victim');
  shared = join(dir, 'shared');
  mkdirSync(victim, { recursive: true });
  writeFileSync(join(victim, 'host-file'), 'of the host');
  mkdirSync(join(shared, 'sub'), { recursive: true });
});

const cache = (dest: string, selector?: string): ExecMount => ({
  dest,
  readonly: false,
  source: { type: 'mounts', mounts: [{ type: 'bind', source: shared, options: ['rbind', 'rw'] }], selector },
});

/** Steps that are run at least, however slow the machine is. */
const least = 12;

/** Runs steps for some seconds while another swaps `sub` for a symlink to the victim; gives what they ended with. */
async function race(step: () => Promise<{ out: string }>, seconds = 3): Promise<string[]> {
  const over = new AbortController();
  const script = `cd /c; while :; do mv sub x; ln -s ${victim} sub; rm sub; mv x sub; done`;
  const swapper = h.run(script, { mounts: [cache('/c')] }, over.signal).catch(() => {});
  const outs: string[] = [];
  const end = Date.now() + seconds * 1000;
  try {
    while (!readdirSync(shared).includes('x')) await sleep(1);
    const one = async () => {
      while (Date.now() < end || outs.length < least) {
        try {
          outs.push((await step()).out);
        } catch (err) {
          // It was no folder at that moment.
          if (!(err instanceof DrydockError)) throw err;
          outs.push(err.message);
        }
      }
    };
    await Promise.all([one(), one(), one()]);
  } finally {
    over.abort();
    await swapper;
  }
  return outs;
}

describe('what a symlink in a shared cache leads to', () => {
  test('is never mounted from the host', async () => {
    const outs = await race(() => h.run('ls /zz; touch /zz/was-here', { mounts: [cache('/zz', 'sub')] }));
    expect(outs.filter((out) => out.includes('host-file'))).toEqual([]);
    expect(readdirSync(victim)).toEqual(['host-file']);
  });

  test('gets no mount point made in it, of a folder or a file', async () => {
    const secret = { type: 'file' as const, data: Buffer.from('hush'), uid: 0, gid: 0, mode: 0o400 };
    await race(() =>
      h.run('true', {
        mounts: [
          cache('/c'),
          { dest: '/c/sub/deep/er', readonly: false, source: { type: 'tmpfs', size: 0 } },
          { dest: '/c/sub/secret', readonly: true, source: secret },
        ],
      }),
    );
    expect(readdirSync(victim)).toEqual(['host-file']);
  });

  test('is looked for inside the cache, and in the root filesystem where a mount point is meant', async () => {
    symlinkSync('/in/cache', join(shared, 'link'));
    mkdirSync(join(shared, 'in/cache'), { recursive: true });
    writeFileSync(join(shared, 'in/cache/here'), '');
    expect((await h.run('ls /zz', { mounts: [cache('/zz', 'link')] })).out).toBe('here\n');
    const tmpfs: ExecMount = { dest: '/c/link/t', readonly: false, source: { type: 'tmpfs', size: 0 } };
    const { out } = await h.run('echo x >/in/cache/t/x; cat /c/link/t/x', { mounts: [cache('/c'), tmpfs] });
    expect(out).toBe('x\n');
    expect(readdirSync(join(shared, 'in/cache'))).toEqual(['here']);
  });
});

describe('mount points', () => {
  const tmpfs = (dest: string): ExecMount => ({ dest, readonly: false, source: { type: 'tmpfs', size: 0 } });

  test.each([
    '/',
    '/..',
    '/proc',
    '/proc/sys/kernel',
    '/dev',
    '/dev/null',
    '/dev/pts',
    '/dev/pts/0',
    '/dev/console',
    '/x/../dev',
  ])('%s is the system’s', async (dest) => {
    await expect(h.run('true', { mounts: [tmpfs(dest)] })).rejects.toMatchObject({
      code: 'invalid',
      hop: 'exec',
      message: expect.stringContaining('nothing can be mounted over what the system has there'),
    });
  });

  test.each([
    ['/dev/../c/x', '/dev'],
    ['/c/up', '/sys/../c/x'],
    ['/c/up/shm', '/proc/self/../../c/x'],
    ['/dev/shm/../../c/x', '/dev'],
  ])('%s, which leads to %s, is no way round that', async (dest, link) => {
    // Left to the runtime by name, what a step has put there would have led it to mount over /dev.
    symlinkSync('/dev', join(shared, 'x'));
    symlinkSync(link, join(shared, 'up'));
    await expect(h.run('true', { mounts: [cache('/c'), tmpfs(dest)] })).rejects.toMatchObject({
      code: 'invalid',
      hop: 'exec',
      message: `mount ${dest}: it leads into /proc, /dev or /sys and up again`,
    });
  });

  test('in the system’s filesystems, and inside those, are where they were asked for', async () => {
    writeFileSync(join(shared, 'sub/f'), 'shared');
    const { out, err } = await h.run(
      'cat /dev/own/cache/sub/f; echo; df /dev/shm | tail -1; ls /dev/own/cache/sub/t; ls -d /dev/null',
      {
        mounts: [
          { dest: '/dev/shm', readonly: false, source: { type: 'tmpfs', size: 1 << 20 } },
          tmpfs('/dev/own'),
          cache('/dev/own/cache'),
          tmpfs('/dev/own/cache/sub/t'),
        ],
      },
    );
    expect(err).toBe('');
    expect(out).toMatch(/^shared\n\w+ +1024 .*\n\/dev\/null\n$/);
  });

  test('inside what is mounted read-only must be there', async () => {
    const readonly = { ...cache('/c'), readonly: true };
    expect(
      (await h.run('touch /c/sub/x; touch /c/y || echo ro', { mounts: [readonly, tmpfs('/c/sub')] })).out,
    ).toBe('ro\n');
    await expect(h.run('true', { mounts: [readonly, tmpfs('/c/none')] })).rejects.toMatchObject({
      code: 'invalid',
      message: 'mount /c/none: it is not there, and what is around it is mounted read-only',
    });
  });

  test('of the system are ordinary folders of the root filesystem', async () => {
    const upper = join(h.dir, `root${attempts}`);
    mkdirSync(join(upper, 'c'), { recursive: true });
    symlinkSync('/c', join(upper, 'dev'));
    const root = { mounts: [{ type: 'bind' as const, source: upper, options: [] }], readonly: false };
    await expect(h.run('true', { root, mounts: [cache('/c')] })).rejects.toMatchObject({
      code: 'invalid',
      message: '/dev of the root filesystem is no folder',
    });
  });
});

onStores('two builds that share a cache', (store) => {
  const builds = new Builds();
  const host = mkdtempSync(join(tmpdir(), 'drydock-host-'));
  beforeAll(async () => {
    writeFileSync(join(host, 'host-file'), '');
    await builds.open(store.options());
  });
  afterAll(async () => {
    await builds.close();
    rmSync(host, { recursive: true });
  });

  test('never have the host between them', async () => {
    const over = new AbortController();
    const swap = `mkdir -p sub x && rmdir x && while :; do mv sub x; ln -s ${host} sub; rm sub; mv x sub; done`;
    const swapper = builds
      .build(
        `RUN --mount=type=cache,id=same,target=/c cd /c && ${swap}`,
        {},
        { signal: over.signal, tags: ['swap'] },
      )
      .catch(() => {});
    let tries = 0;
    try {
      for (const end = Date.now() + 3000; Date.now() < end || tries < 5; tries++) {
        const mount = 'type=cache,id=same,source=sub,target=/zz';
        const look = `RUN --mount=${mount} ls /zz >/out && touch /zz/was-here # ${tries}`;
        const built = await builds.build(look, {}, { tags: ['look'] }).catch((err: unknown) => {
          // It was no folder at that moment, or went while it was looked at.
          if (err instanceof DrydockError && ['not-found', 'failed'].includes(err.code)) return undefined;
          throw err;
        });
        expect(built?.read('/out') ?? '').not.toContain('host-file');
      }
    } finally {
      over.abort();
      await swapper;
    }
    expect(readdirSync(host)).toEqual(['host-file']);
  });
});
