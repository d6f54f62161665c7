/** The digests of files that a client sends are taken while they come: nobody reads the files for a content key. */
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { BlockHash } from '../../src/fs/block-hash.ts';
import { blockSize, hashBlocks } from '../../src/fs/hash-blocks.ts';
import { lsetxattr } from '../../src/linux/libc.ts';
import { folderSync } from '../../src/session/folder-sync.ts';
import { contentDigest } from '../../src/solver/content.ts';
import { localSource } from '../../src/source/local.ts';
import { closePool } from '../../src/workers/pool.ts';
import { runSource } from '../kit/run-op.ts';
import { Workshop } from '../kit/workshop.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-sent-'));
let shop: Workshop;
let source: string;
beforeAll(async () => {
  shop = new Workshop();
  await shop.open();
});
afterAll(async () => {
  await shop.remove();
  rmSync(dir, { recursive: true, force: true });
  await closePool();
});
beforeEach(() => {
  source = mkdtempSync(join(dir, 'source-'));
  mkdirSync(join(source, 'sub'));
  write('small', 'small');
  write('empty', '');
  write('sub/large', `${'\0'.repeat(2 * blockSize)}${'x'.repeat(blockSize + 5)}`);
  write(Buffer.from('sub/b\xffytes', 'latin1'), 'a name that is no UTF-8');
  write('attributes', 'a');
  lsetxattr(join(source, 'attributes'), 'user.k', Buffer.from('v'));
  write('linked', 'linked');
  linkSync(join(source, 'linked'), join(source, 'sub/z-link'));
});

/** Writes a file of the client's, with a time that has fractions of a second. */
function write(name: string | Buffer, text: string): void {
  const path = Buffer.concat([Buffer.from(`${source}/`), Buffer.from(name)]);
  writeFileSync(path, text);
  utimesSync(path, 1_700_000_000.25, 1_700_000_000.25 + text.length);
}

/** The content key of the client's folder as it is, or as it was sent. */
async function key(how: 'here' | 'sent'): Promise<string> {
  const local = async () => (how === 'here' ? { kind: 'folder' as const, dir: source } : folderSync(source));
  const { refs, release } = await runSource(shop, localSource, 'local://context', {}, { session: { local } });
  const found = await contentDigest(shop, refs[0]!, [{ path: '/' }], {
    session: {} as never,
    progress: { digest: 'sha256:', report: () => {}, log: () => {}, warn: () => {} },
    signal: new AbortController().signal,
    lease: 'test',
  });
  await release();
  return found;
}

/** Writes over bytes of a kept file, as nothing else does, so that a digest of what is on the disk is another one. */
function spoil(name: string): void {
  const root = join(shop.store.root, 'sync');
  for (const id of readdirSync(root)) {
    try {
      const file = openSync(join(root, id, '0/data', name), 'r+');
      writeSync(file, 'S');
      closeSync(file);
    } catch {
      // The folder of another test's client.
    }
  }
}

test('the key is that of the folder itself', async () => {
  expect(await key('sent')).toBe(await key('here'));
});

test('a file that has stayed as it was is not read for the key of a folder that has changed', async () => {
  await key('sent');
  for (const name of ['small', 'sub/large']) spoil(name);
  write('another', 'new');
  expect(await key('sent')).toBe(await key('here'));
  spoil('sub/large');
  write('another', 'changed');
  rmSync(join(source, 'empty'));
  expect(await key('sent')).toBe(await key('here'));
});

test('a file that has come anew is known by what has come', async () => {
  await key('sent');
  write('small', 'other and longer');
  write('linked', 'too');
  write('sub/large', 'now small');
  expect(await key('sent')).toBe(await key('here'));
});

test('digests of another state, or cut off, are passed over', async () => {
  await key('sent');
  const root = join(shop.store.root, 'sync');
  for (const id of readdirSync(root)) writeFileSync(join(root, id, '0/data.contents'), 'other\nsha/small\0');
  write('another', 'new');
  expect(await key('sent')).toBe(await key('here'));
});

test.each([1, 1000, blockSize - 1, blockSize, blockSize + 1, 5 * blockSize])(
  'pieces of %i bytes have the digest of the file that they make',
  (size) => {
    const path = join(dir, 'pieces');
    const zeros = Buffer.alloc(blockSize);
    const some = Buffer.alloc(blockSize, 'x');
    const late = Buffer.concat([zeros.subarray(1), Buffer.from('x')]);
    const files = [[], [some], [zeros], [zeros, zeros.subarray(9)], [late, zeros, zeros, some.subarray(7)]];
    const buffer = Buffer.alloc(blockSize);
    for (const bytes of files
      .map((parts) => Buffer.concat(parts))
      .filter(({ length }) => length < 1e6 * size)) {
      writeFileSync(path, bytes);
      const file = openSync(path, 'r');
      const whole = hashBlocks(file, bytes.length, buffer, () => {});
      closeSync(file);
      const pieces = new BlockHash();
      for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
      expect(pieces.digest()).toBe(whole);
    }
  },
);
