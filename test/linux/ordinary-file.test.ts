import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readLayoutIndex } from '../../src/exporter/layout-index.ts';
import { readOrdinary, streamOrdinary } from '../../src/linux/index.ts';
import { FolderStore } from '../../src/object-store/folder.ts';
import { folderContent } from '../../src/session/folder-content.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-ordinary-'));
const digest = `sha256:${'a'.repeat(64)}` as const;
const blob = `blobs/sha256/${'a'.repeat(64)}`;
beforeAll(() => {
  execFileSync('mkdir', ['-p', join(dir, 'blobs/sha256')]);
  writeFileSync(join(dir, 'file'), '0123456789');
  symlinkSync('file', join(dir, 'link'));
  symlinkSync('/dev/zero', join(dir, 'zero'));
  for (const name of ['fifo', 'index.json', blob]) execFileSync('mkfifo', [join(dir, name)]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('a file is read as a whole, in a stream, and in a part, through links too', async () => {
  expect((await readOrdinary(join(dir, 'link'), 10)).toString()).toBe('0123456789');
  const of = async (options = {}) => text((await streamOrdinary(join(dir, 'link'), options)).stream);
  expect(await of()).toBe('0123456789');
  expect(await of({ start: 2, end: 5 })).toBe('234');
  expect(await of({ start: 8, end: 50 })).toBe('89');
  expect(await of({ start: 10 })).toBe('');
  await expect(readOrdinary(join(dir, 'file'), 9)).rejects.toMatchObject({ code: 'EFBIG' });
});

test.each(['fifo', 'zero'])('a %s is refused at once, as often as it is asked for', async (name) => {
  // Node has four threads for files: as many FIFOs that are waited for would stop all others.
  for (let i = 0; i < 6; i++) {
    await expect(readOrdinary(join(dir, name), 10)).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(streamOrdinary(join(dir, name))).rejects.toMatchObject({ code: 'EINVAL' });
  }
  await expect(streamOrdinary(dir)).rejects.toMatchObject({ code: 'EISDIR' });
});

test('so are those in a layout, in a folder of caches, and among the blobs of a session', async () => {
  await expect(readLayoutIndex(dir)).rejects.toMatchObject({ code: 'EINVAL' });
  const store = new FolderStore(dir);
  for (const key of ['fifo', 'zero']) await expect(store.get(key)).rejects.toThrow('no ordinary file');
  expect(await text((await store.get('file', { start: 1, end: 3 })).stream)).toBe('12');
  await expect(folderContent(dir).read(digest)).rejects.toMatchObject({ code: 'EINVAL' });
});
