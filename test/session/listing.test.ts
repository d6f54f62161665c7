/** A client's last list of a folder: what of it comes again is known, however long it is. */
import { mkdirSync, statSync } from 'node:fs';
import { array, assert, integer, property, uniqueArray } from 'fast-check';
import { expect, test } from 'vitest';
import { Deframer } from '../../src/grpc/frame.ts';
import { compareNames } from '../../src/linux/names.ts';
import { ListedMessages, ListingWriter, readListing } from '../../src/session/fsutil/listing.ts';
import type { Stat } from '../../src/session/fsutil/packet.ts';
import { PacketWriter } from '../../src/session/fsutil/packet-writer.ts';
import { scratch } from '../fs/trees.ts';

/** A file's description as a message. */
function message(path: string, size: number): Uint8Array {
  const plain = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 1n, link: '', devmajor: 0, devminor: 0, xattrs: [] };
  const writer = new PacketWriter();
  writer.stat({ ...plain, path, size } satisfies Stat);
  return new Deframer().push(writer.take())[0] as Uint8Array;
}

function inOrder(paths: readonly string[]): string[] {
  return [...paths].sort((a, b) => compareNames(a.replaceAll('/', '\0'), b.replaceAll('/', '\0')));
}

function listed(messages: readonly Uint8Array[]): ListedMessages {
  using tmp = scratch();
  mkdirSync(tmp.path('data'));
  const writer = new ListingWriter();
  for (const each of messages) writer.add(each);
  writer.save(tmp.path('list'), tmp.path('data'), { entries: 0, wholeSeconds: false, folders: [] });
  return new ListedMessages(readListing(tmp.path('list'), tmp.path('data'))!);
}

test('a message is known when the last list had it, whatever came, went or changed around it', () => {
  const name = integer({ min: 0, max: 12 }).map(
    (n) => ['a', 'a-b', 'a/b', 'a/b/c', 'a.b', 'é', 'z/a'][n % 7]! + n,
  );
  const list = uniqueArray(name, { maxLength: 12 });
  assert(
    property(
      list,
      list,
      array(integer({ min: 0, max: 1 }), { minLength: 13, maxLength: 13 }),
      (old, now, sizes) => {
        const before = listed(inOrder(old).map((path) => message(path, 0)));
        for (const [i, path] of inOrder(now).entries()) {
          const size = sizes[i] as number;
          expect(before.has(message(path, size), path)).toBe(old.includes(path) && size === 0);
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('the list of 200,000 files is kept, and that of a million is not', () => {
  using tmp = scratch();
  mkdirSync(tmp.path('data'));
  const save = (count: number) => {
    const writer = new ListingWriter();
    const one = message(`${'folder/'.repeat(5)}file-000000.txt`, 1000);
    for (let i = 0; i < count; i++) writer.add(one);
    const about = { entries: count, wholeSeconds: false, folders: [] };
    return writer.save(tmp.path('list'), tmp.path('data'), about);
  };
  expect(save(200_000)).toBeDefined();
  expect(statSync(tmp.path('list')).size).toBeGreaterThan(10e6);
  const { entries, bytes } = readListing(tmp.path('list'), tmp.path('data'))!;
  expect([entries, new Deframer().push(bytes).length]).toEqual([200_000, 200_000]);
  expect(save(1_000_000)).toBeUndefined();
});
