/** The file protocol's packets, read and written by hand: they are what the generated code says, and no bytes crash it. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  array,
  assert,
  bigInt,
  constantFrom,
  integer,
  property,
  record,
  string,
  tuple,
  uint8Array,
} from 'fast-check';
import { expect, test } from 'vitest';
import { DrydockError } from '../../src/errors/error.ts';
import type { FileType } from '../../src/fs/view.ts';
import { Deframer } from '../../src/grpc/frame.ts';
import { bytesOf, nameOf } from '../../src/linux/names.ts';
import { PacketSchema, StatSchema } from '../../src/pb/fsutil/wire_pb.js';
import { goMode, permissionsOf, typeOf } from '../../src/session/fsutil/mode.ts';
import type { Stat } from '../../src/session/fsutil/packet.ts';
import { readPacket } from '../../src/session/fsutil/packet-reader.ts';
import { PacketWriter } from '../../src/session/fsutil/packet-writer.ts';

const uint32 = integer({ min: 0, max: 2 ** 32 - 1 });
const stats = record({
  path: string({ unit: 'grapheme', maxLength: 300 }),
  mode: uint32,
  uid: uint32,
  gid: uint32,
  size: integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  mtimeNs: bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  link: string({ unit: 'grapheme', maxLength: 200 }),
  devmajor: integer({ min: 0, max: 2 ** 31 - 1 }),
  devminor: integer({ min: 0, max: 2 ** 31 - 1 }),
  xattrs: array(tuple(string({ minLength: 1, maxLength: 40 }), uint8Array({ maxLength: 3000 })), {
    maxLength: 3,
  }),
});

test('what is written is what the proto says, and is read as it was', () => {
  assert(
    property(
      array(stats, { minLength: 1, maxLength: 8 }),
      uint32,
      uint8Array({ maxLength: 400 }),
      (list, id, data) => {
        const writer = new PacketWriter();
        const sent = list.map((stat): Stat => {
          const names = new Map(stat.xattrs.map(([name, value]) => [name, Buffer.from(value)]));
          return { ...stat, xattrs: [...names] };
        });
        for (const stat of sent) writer.stat(stat);
        writer.stat(undefined);
        writer.data(id, data);
        writer.request(id);
        writer.fin();
        writer.error('größe');
        const messages = new Deframer().push(writer.take());
        expect(messages).toHaveLength(sent.length + 5);
        for (const [i, stat] of sent.entries()) {
          const { stat: theirs } = fromBinary(PacketSchema, messages[i]!);
          expect(theirs).toMatchObject({
            path: stat.path,
            mode: stat.mode,
            size: BigInt(stat.size),
            modTime: stat.mtimeNs,
            linkname: stat.link,
            devminor: BigInt(stat.devminor),
          });
          expect(Object.keys(theirs?.xattrs ?? {}).toSorted()).toEqual(
            stat.xattrs.map(([name]) => name).toSorted(),
          );
          expect(readPacket(messages[i]!).stat).toEqual(stat);
        }
        const [end, part, request, fin, error] = messages
          .slice(sent.length)
          .map((m) => fromBinary(PacketSchema, m));
        expect([end?.type, end?.stat]).toEqual([0, undefined]);
        expect([part?.type, part?.ID, Buffer.from(part!.data)]).toEqual([2, id, Buffer.from(data)]);
        expect([request?.type, request?.ID, fin?.type]).toEqual([1, id, 3]);
        expect([error?.type, Buffer.from(error!.data).toString()]).toEqual([4, 'größe']);
      },
    ),
    { numRuns: 60 },
  );
});

test('names and links are bytes: what is no UTF-8 is written and read as it is', () => {
  const name = uint8Array({ minLength: 1, maxLength: 40 }).map((raw) => nameOf(Buffer.from(raw)));
  assert(
    property(stats, name, name, (stat, path, link) => {
      const sent = { ...stat, path, link, xattrs: [[`user.${path}`, Buffer.from('x')]] as Stat['xattrs'] };
      const writer = new PacketWriter();
      writer.stat(sent);
      const [message] = new Deframer().push(writer.take());
      expect(readPacket(message!).stat).toEqual(sent);
      expect(Buffer.from(message!).includes(bytesOf(path))).toBe(true);
    }),
  );
});

test('what the generated code writes is read', () => {
  const stat = create(StatSchema, {
    path: 'a/b',
    mode: 0o644,
    size: 5n,
    modTime: -1n,
    xattrs: { 'user.x': Buffer.from('y') },
  });
  const bytes = toBinary(
    PacketSchema,
    create(PacketSchema, { stat, data: Buffer.from('d'), ID: 7, type: 2 }),
  );
  expect(readPacket(bytes)).toMatchObject({
    type: 2,
    id: 7,
    stat: { path: 'a/b', mode: 0o644, size: 5, mtimeNs: -1n, xattrs: [['user.x', Buffer.from('y')]] },
  });
});

test('bytes that are no packet are refused, and nothing else happens', () => {
  assert(
    property(uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        readPacket(bytes);
      } catch (err) {
        expect(err).toBeInstanceOf(DrydockError);
        expect(err).toMatchObject({ code: 'invalid', hop: 'session' });
      }
    }),
    { numRuns: 2000 },
  );
});

test('Go’s file modes', () => {
  const types: FileType[] = ['file', 'dir', 'symlink', 'char', 'block', 'fifo', 'socket'];
  assert(
    property(constantFrom(...types), integer({ min: 0, max: 0o7777 }), (type, permissions) => {
      const mode = goMode(type, permissions);
      expect([typeOf(mode), permissionsOf(mode)]).toEqual([type, permissions]);
    }),
  );
  // os.ModeDir|0755, os.ModeSymlink|0777, os.ModeSetuid|0755, os.ModeDevice|os.ModeCharDevice|0600
  expect(goMode('dir', 0o755)).toBe(0x800001ed);
  expect(goMode('symlink', 0o777)).toBe(0x080001ff);
  expect(goMode('file', 0o4755)).toBe(0x008001ed);
  expect(goMode('char', 0o600)).toBe(0x04200180);
  expect(typeOf(1 << 19)).toBeUndefined();
});
