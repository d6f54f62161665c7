/** The messages of FUSE, byte by byte. A real kernel is asked in test/engine/lazy-bases.test.ts. */
import { expect, test } from 'vitest';
import {
  answer,
  dirAnswer,
  errno,
  failed,
  forgotten,
  initAnswer,
  opcode,
  readRange,
  readRequest,
  xattrAnswer,
  xattrName,
} from '../../src/lazy/fuse-protocol.ts';

/** A request as the kernel sends it. */
function request(kind: number, body: Buffer, node = 7n): Buffer {
  const head = Buffer.alloc(40);
  head.writeUInt32LE(40 + body.length, 0);
  head.writeUInt32LE(kind, 4);
  head.writeBigUInt64LE(99n, 8);
  head.writeBigUInt64LE(node, 16);
  return Buffer.concat([head, body]);
}

function numbers(...of: (number | bigint)[]): Buffer {
  return Buffer.concat(
    of.map((n) => {
      const out = Buffer.alloc(typeof n === 'bigint' ? 8 : 4);
      if (typeof n === 'bigint') out.writeBigUInt64LE(n);
      else out.writeUInt32LE(n);
      return out;
    }),
  );
}

test('a request is read with its arguments', () => {
  const read = readRequest(request(opcode.read, numbers(5n, 4096n, 131072, 0, 0n, 0, 0)));
  expect(read).toMatchObject({ opcode: 15, unique: 99n, node: 7n });
  expect(readRange(read)).toEqual({ offset: 4096, size: 131072 });
  const get = readRequest(
    request(opcode.getxattr, Buffer.concat([numbers(0, 0), Buffer.from('user.note\0')])),
  );
  expect(xattrName(get)).toBe('user.note');
});

test('an answer has its length, its error and the name of its request', () => {
  expect(answer(99n, Buffer.from('abc'))).toEqual(Buffer.concat([numbers(19, 0, 99n), Buffer.from('abc')]));
  expect(failed(99n, errno.EIO).readInt32LE(4)).toBe(-5);
});

test('of the features that the kernel offers, those that are known are used', () => {
  // READDIRPLUS (13) and FUSE_INIT_EXT (30), WRITEBACK_CACHE (16) and ALLOW_IDMAP (40).
  const flags = (1 << 13) | (1 << 30) | (1 << 16);
  const out = initAnswer(
    readRequest(request(opcode.init, numbers(7, 45, 131072, flags, 1 << 8, ...Array(11).fill(0)))),
  );
  expect(out.length).toBe(16 + 64);
  expect(out.readUInt32LE(16 + 12)).toBe((1 << 13) | (1 << 30));
  expect(out.readUInt32LE(16 + 32)).toBe(1 << 8);
  // A kernel of before INIT_EXT.
  const old = initAnswer(readRequest(request(opcode.init, numbers(7, 31, 131072, 1 << 13))));
  expect([old.readUInt32LE(16 + 4), old.readUInt32LE(16 + 12)]).toEqual([31, 1 << 13]);
});

test('a folder that is too long for one answer goes on where it was cut', () => {
  const entries = Array.from({ length: 10 }, (_, i) => ({
    name: `größe-${i}`,
    ino: BigInt(i + 20),
    type: 8,
  }));
  const names: string[] = [];
  for (let offset = 0; offset < entries.length; ) {
    const out = dirAnswer(99n, entries, { offset, size: 100 });
    expect(out.readUInt32LE(0)).toBe(out.length);
    expect(out.length).toBeLessThanOrEqual(116);
    for (let at = 16; at < out.length; ) {
      const length = out.readUInt32LE(at + 16);
      names.push(out.toString('utf8', at + 24, at + 24 + length));
      offset = Number(out.readBigUInt64LE(at + 8));
      at += (24 + length + 7) & ~7;
    }
  }
  expect(names).toEqual(entries.map(({ name }) => name));
});

test('an attribute’s value comes when there is room for it, its size when that is asked for', () => {
  const ask = (room: number) => readRequest(request(opcode.listxattr, numbers(room, 0)));
  const value = Buffer.from('user.a\0user.b\0');
  expect(xattrAnswer(ask(0), value).readUInt32LE(16)).toBe(14);
  expect(xattrAnswer(ask(14), value).subarray(16)).toEqual(value);
  expect(xattrAnswer(ask(13), value).readInt32LE(4)).toBe(-34);
});

test('nodes are forgotten one by one, or many at once', () => {
  expect([...forgotten(readRequest(request(opcode.forget, numbers(3n))))]).toEqual([[7n, 3n]]);
  const many = request(opcode.batchForget, numbers(2, 0, 8n, 1n, 9n, 2n), 0n);
  expect([...forgotten(readRequest(many))]).toEqual([
    [8n, 1n],
    [9n, 2n],
  ]);
});
