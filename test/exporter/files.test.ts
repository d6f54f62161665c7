import { execFileSync } from 'node:child_process';
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { MNT_DETACH, mount, umount } from '../../src/linux/libc.ts';
import { closePool } from '../../src/workers/pool.ts';
import { MS_RDONLY } from '../kit/mount-flags.ts';
import { twoLayers } from '../kit/two-layers.ts';
import { withStore } from '../layer/kit.ts';
import { readTar } from '../tar/kit.ts';
import { arm64, bufferSink, registry, run, solved } from './kit.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-files-'));
afterAll(async () => {
  rmSync(dir, { recursive: true, force: true });
  registry.close();
  await closePool();
});

test('type=local: the tree as files, over what is there, never through a link of the destination', () =>
  withStore('overlayfs', async (store) => {
    const dest = join(dir, 'local');
    mkdirSync(join(dir, 'elsewhere'));
    mkdirSync(dest);
    writeFileSync(join(dest, 'mine'), 'mine');
    symlinkSync(join(dir, 'elsewhere'), join(dest, 'bin'));
    const results = [solved(await twoLayers(store))];
    const out = await run(store, 'local', {}, { results, sourceDateEpoch: 5000 }, { sink: { files: dest } });
    expect(readFileSync(join(dest, 'bin/tool'), 'utf8')).toBe('tool');
    expect(statSync(join(dest, 'bin/tool')).mode & 0o7777).toBe(0o4755);
    expect(statSync(join(dest, 'bin/zame')).ino).toBe(statSync(join(dest, 'bin/tool')).ino);
    expect(statSync(join(dest, 'bin/tool')).mtimeMs).toBe(5_000_000);
    expect(lstatSync(join(dest, 'bin')).isSymbolicLink()).toBe(false);
    expect(statSync(join(dir, 'elsewhere')).size).toBeGreaterThanOrEqual(0);
    expect(execFileSync('ls', ['-A', join(dir, 'elsewhere')], { encoding: 'utf8' })).toBe('');
    expect(readFileSync(join(dest, 'mine'), 'utf8')).toBe('mine');
    expect(readFileSync(join(dest, 'link'), 'utf8')).toBe('tool');
    expect(out.statuses).toEqual(['copying files']);
  }));

test('type=local: a file that is there stays until the new one is whole; devices and FIFOs are not replaced', () =>
  withStore('overlayfs', async (store) => {
    const ref = await twoLayers(store);
    const dest = join(dir, 'careful');
    const output = () => run(store, 'local', {}, { results: [solved(ref)] }, { sink: { files: dest } });
    mkdirSync(join(dest, 'bin'), { recursive: true });
    writeFileSync(join(dest, 'bin/tool'), 'old');
    const before = openSync(join(dest, 'bin/tool'), 'r');
    await output();
    expect(readFileSync(before, 'utf8')).toBe('old');
    closeSync(before);
    expect(readFileSync(join(dest, 'bin/tool'), 'utf8')).toBe('tool');
    expect(execFileSync('find', ['-name', '.drydock*'], { cwd: dest, encoding: 'utf8' })).toBe('');
    for (const make of [
      ['mknod', 'bin/tool', 'c', '1', '3'],
      ['mkfifo', 'bin/tool'],
      ['mkfifo', 'bin'],
    ]) {
      const [command = '', path = '', ...rest] = make;
      rmSync(join(dest, path), { recursive: true });
      execFileSync(command, [path, ...rest], { cwd: dest });
      await expect(output()).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringMatching(/is not replaced: it is a (device|FIFO)/),
      });
      expect(lstatSync(join(dest, path)).isFile() || lstatSync(join(dest, path)).isDirectory()).toBe(false);
      rmSync(join(dest, path));
      mkdirSync(join(dest, 'bin'), { recursive: true });
      writeFileSync(join(dest, 'bin/tool'), 'old');
    }
  }));

test('type=local,mode=delete: what is there and not in the result goes away', () =>
  withStore('overlayfs', async (store) => {
    const ref = await twoLayers(store);
    const dest = join(dir, 'clean');
    mkdirSync(join(dest, 'bin/old'), { recursive: true });
    mkdirSync(join(dir, 'kept'));
    writeFileSync(join(dir, 'kept/file'), 'kept');
    symlinkSync(join(dir, 'kept'), join(dest, 'away'));
    await run(store, 'local', { mode: 'delete' }, { results: [solved(ref)] }, { sink: { files: dest } });
    const list = () =>
      execFileSync('find', ['-printf', '%P\\n'], { cwd: dest, encoding: 'utf8' }).trim().split('\n');
    expect(list().toSorted()).toEqual(['bin', 'bin/tool', 'bin/zame', 'größe', 'link']);
    expect(readFileSync(join(dir, 'kept/file'), 'utf8')).toBe('kept');
    const both = { results: [solved(ref), solved(ref, {}, arm64)] };
    await run(store, 'local', { mode: 'delete' }, both, { sink: { files: dest } });
    expect(
      list()
        .filter((path) => !path.includes('/'))
        .toSorted(),
    ).toEqual(['linux_amd64', 'linux_arm64']);
    await expect(
      run(store, 'local', { mode: 'backup' }, both, { sink: { files: dest } }),
    ).rejects.toMatchObject({ code: 'invalid', hint: expect.stringContaining('delete') });
  }));

test('type=local with several platforms: a folder each', () =>
  withStore('overlayfs', async (store) => {
    const ref = await twoLayers(store);
    const results = [solved(ref), solved(ref, {}, arm64)];
    await run(store, 'local', {}, { results }, { sink: { files: join(dir, 'multi') } });
    for (const folder of ['linux_amd64', 'linux_arm64']) {
      expect(readFileSync(join(dir, 'multi', folder, 'bin/tool'), 'utf8')).toBe('tool');
    }
  }));

test.each([
  ['local', {}],
  ['oci', { tar: 'false' }],
] as const)('type=%s: a destination that takes nothing is told of with what to do', (type, attrs) =>
  withStore('overlayfs', async (store) => {
    const results = [solved(await twoLayers(store))];
    const write = (dest: string) => run(store, type, attrs, { results }, { sink: { files: dest } });
    const inTheWay = join(dir, `in-the-way-${type}`);
    writeFileSync(inTheWay, 'a file');
    await expect(write(inTheWay)).rejects.toMatchObject({
      code: 'invalid',
      hop: 'export',
      message: expect.stringContaining(`writing to ${inTheWay}: `),
      hint: expect.stringContaining('in the way'),
    });
    const disk = join(dir, `disk-${type}`);
    mkdirSync(disk);
    const full = { code: 'exhausted', message: `writing to ${disk}: no space left on its disk` };
    const readOnly = { code: 'denied', message: expect.stringContaining('EROFS') };
    for (const [flags, size, failure] of [
      [0, 'nr_inodes=2', { ...full, hint: expect.stringContaining('Free space there') }],
      [MS_RDONLY, 'size=1m', { ...readOnly, hint: 'Choose a folder that you may write to.' }],
    ] as const) {
      mount('tmpfs', disk, 'tmpfs', flags, size);
      try {
        await expect(write(disk)).rejects.toMatchObject({ hop: 'export', ...failure });
      } finally {
        umount(disk, MNT_DETACH);
      }
    }
  }),
);

test('type=tar: one archive of the whole tree', () =>
  withStore('overlayfs', async (store) => {
    const { sink, bytes } = bufferSink();
    const results = [solved(await twoLayers(store))];
    const out = await run(store, 'tar', {}, { results }, { sink });
    const archive = await bytes();
    const entries = new Map(readTar(archive).map((entry) => [entry.path, entry]));
    expect([...entries.keys()]).toEqual(['bin', 'bin/tool', 'bin/zame', 'größe', 'link']);
    expect(entries.get('bin/zame')).toMatchObject({ type: 'hardlink', link: 'bin/tool' });
    expect(entries.get('link')?.link).toBe('bin/tool');
    expect(execFileSync('tar', ['-tf', '-'], { input: archive, encoding: 'utf8' })).toContain('bin/tool');
    expect(out.open).toEqual([]);
  }));

test('type=tar with several platforms, or nothing at all', () =>
  withStore('overlayfs', async (store) => {
    const ref = await twoLayers(store);
    const both = bufferSink();
    await run(store, 'tar', {}, { results: [solved(ref), solved(ref, {}, arm64)] }, both);
    const entries = readTar(await both.bytes());
    expect(entries.map(({ path }) => path)).toEqual(
      ['linux_amd64', 'linux_arm64'].flatMap((p) => [
        p,
        `${p}/bin`,
        `${p}/bin/tool`,
        `${p}/bin/zame`,
        `${p}/größe`,
        `${p}/link`,
      ]),
    );
    expect(entries.find(({ path }) => path === 'linux_arm64/bin/zame')?.link).toBe('linux_arm64/bin/tool');
    const none = bufferSink();
    await run(store, 'tar', {}, { results: [solved(undefined)] }, none);
    expect(readTar(await none.bytes())).toEqual([]);
  }));
