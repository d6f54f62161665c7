/** What every store does with its blobs. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';

import { bytes, lease, nowhere, type StoreAtHand, text } from './at-hand.ts';

export function contentTests(at: StoreAtHand): void {
  describe('content', () => {
    test('a small blob is put, described and read, whole or in part', async () => {
      const digest = await at.store.content.put(bytes('hello, dock'), { lease, labels: { a: '1' } });
      expect(digest).toBe(digestOf('hello, dock'));
      expect(await at.store.content.info(digest)).toMatchObject({ digest, size: 11, labels: { a: '1' } });
      expect((await at.store.content.bytes(digest)).toString()).toBe('hello, dock');
      expect(await text(await at.store.content.read(digest))).toBe('hello, dock');
      expect(await text(await at.store.content.read(digest, { offset: 7 }))).toBe('dock');
      expect(await text(await at.store.content.read(digest, { offset: 1, length: 4 }))).toBe('ello');
      expect(await text(await at.store.content.read(digest, { offset: 11 }))).toBe('');
      await expect(at.store.content.read(digest, { offset: 12 })).rejects.toMatchObject({ code: 'invalid' });
      expect((await at.store.content.list()).map((blob) => blob.digest)).toEqual([digest]);
    });

    test('a reader that nobody reads holds no file, nor does one that is left in the middle', async () => {
      const data = randomBytes(4 << 20);
      const digest = await at.store.content.put(data, { lease });
      const open = () => openFiles().filter((path) => path.includes(digest.slice('sha256:'.length)));
      await Promise.all(Array.from({ length: 20 }, () => at.store.content.read(digest)));
      expect(open()).toEqual([]);
      for await (const _chunk of await at.store.content.read(digest)) break;
      await expect.poll(open).toEqual([]);
      (await at.store.content.read(digest)).destroy();
      expect(open()).toEqual([]);
    });

    test('putting it again is fine and adds labels', async () => {
      const digest = await at.store.content.put(bytes('x'), { lease, labels: { a: '1' } });
      expect(await at.store.content.put(bytes('x'), { lease, labels: { b: '2' } })).toBe(digest);
      expect((await at.store.content.info(digest))?.labels).toEqual({ a: '1', b: '2' });
      await at.store.content.setLabels(digest, { a: undefined, c: '3' });
      expect((await at.store.content.info(digest))?.labels).toEqual({ b: '2', c: '3' });
      expect(await at.store.content.list()).toHaveLength(1);
    });

    test('the empty blob is a blob', async () => {
      const digest = await at.store.content.put(bytes(''), { lease });
      expect((await at.store.content.info(digest))?.size).toBe(0);
      expect(await text(await at.store.content.read(digest))).toBe('');
    });

    test('a big blob is written in pieces and visible only when committed', async () => {
      const data = randomBytes(300_000);
      const expected = { digest: digestOf(data), size: data.length };
      const writer = await at.store.content.writer('layer', { lease, expected });
      expect(writer.offset).toBe(0);
      for (let at = 0; at < data.length; at += 70_000) await writer.write(data.subarray(at, at + 70_000));
      expect(await at.store.content.info(expected.digest)).toBeUndefined();
      expect(await writer.commit({ made: 'here' })).toEqual(expected);
      expect((await at.store.content.info(expected.digest))?.labels).toEqual({ made: 'here' });
      expect((await at.store.content.bytes(expected.digest)).equals(data)).toBe(true);
      expect(await at.store.leases.resources(lease)).toContainEqual({ type: 'blob', id: expected.digest });
    });

    test('bytes that are not what was promised make no blob', async () => {
      const expected = { digest: digestOf('right'), size: 5 };
      const wrong = await at.store.content.writer('w', { lease, expected });
      await wrong.write(bytes('wrong'));
      await expect(wrong.commit()).rejects.toMatchObject({ code: 'corrupt', hop: 'store' });
      const short = await at.store.content.writer('w', { lease, expected });
      expect(short.offset).toBe(0);
      await short.write(bytes('rig'));
      await expect(short.commit()).rejects.toMatchObject({ code: 'corrupt' });
      const long = await at.store.content.writer('w', { lease, expected });
      await long.write(bytes('right'));
      await expect(long.write(bytes('!'))).rejects.toMatchObject({ code: 'corrupt' });
      await long.abort();
      expect(await at.store.content.list()).toEqual([]);
    });

    test('a broken-off write is resumed where it ended', async () => {
      const expected = { digest: digestOf('first,second'), size: 12 };
      const first = await at.store.content.writer('pull', { lease, expected });
      await first.write(bytes('first,'));
      await first.abort(true);
      const second = await at.store.content.writer('pull', { lease, expected, resume: true });
      expect(second.offset).toBe(6);
      await second.write(bytes('second'));
      expect(await second.commit()).toEqual(expected);
      expect((await at.store.content.bytes(expected.digest)).toString()).toBe('first,second');
    });

    test('who does not ask to go on begins anew', async () => {
      const first = await at.store.content.writer('pull', { lease });
      await first.write(bytes('first,'));
      await first.abort(true);
      const second = await at.store.content.writer('pull', { lease });
      expect(second.offset).toBe(0);
      await second.write(bytes('second'));
      expect(await second.commit()).toEqual({ digest: digestOf('second'), size: 6 });
    });

    test('an aborted write leaves nothing', async () => {
      const first = await at.store.content.writer('pull', { lease });
      await first.write(bytes('first,'));
      await first.abort();
      const second = await at.store.content.writer('pull', { lease, resume: true });
      expect(second.offset).toBe(0);
      await second.abort();
    });

    test('two writers of one ref are refused, and of a blob that is there too', async () => {
      const writer = await at.store.content.writer('one', { lease });
      await expect(at.store.content.writer('one', { lease })).rejects.toMatchObject({ code: 'conflict' });
      await writer.abort();
      const digest = await at.store.content.put(bytes('there'), { lease });
      await expect(
        at.store.content.writer('two', { lease, expected: { digest, size: 5 } }),
      ).rejects.toMatchObject({ code: 'exists' });
    });

    test('two writers of the same bytes under two refs both succeed', async () => {
      const a = await at.store.content.writer('a', { lease });
      const b = await at.store.content.writer('b', { lease });
      for (const writer of [a, b]) await writer.write(bytes('same'));
      expect(await a.commit()).toEqual(await b.commit());
      expect(await at.store.content.list()).toHaveLength(1);
    });

    test('what is not there is not found', async () => {
      expect(await at.store.content.info(nowhere)).toBeUndefined();
      await expect(at.store.content.read(nowhere)).rejects.toMatchObject({ code: 'not-found', hop: 'store' });
      await expect(at.store.content.bytes(nowhere)).rejects.toMatchObject({ code: 'not-found' });
      await expect(at.store.content.delete(nowhere)).rejects.toMatchObject({ code: 'not-found' });
      await expect(at.store.content.setLabels(nowhere, {})).rejects.toMatchObject({ code: 'not-found' });
      await expect(at.store.content.put(bytes('x'), { lease: 'none' })).rejects.toMatchObject({
        code: 'not-found',
      });
      expect(await at.store.content.list()).toEqual([]);
    });

    test('a deleted blob is gone and can come again', async () => {
      const digest = await at.store.content.put(bytes('x'), { lease });
      await at.store.content.delete(digest);
      expect(await at.store.content.info(digest)).toBeUndefined();
      expect(await at.store.leases.resources(lease)).toEqual([]);
      await at.store.content.put(bytes('x'), { lease });
      expect((await at.store.content.bytes(digest)).toString()).toBe('x');
    });

    test('where blobs are files, a worker reads and writes them directly', async () => {
      const { content } = at.store;
      if (!content.localPath || !content.ingestPath || !content.adopt) return;
      const path = await content.ingestPath();
      writeFileSync(path, 'by a worker');
      const digest = digestOf('by a worker');
      await expect(
        content
          .adopt(path, { digest, size: 3 }, { lease })
          .finally(() => expect(existsSync(path)).toBe(false)),
      ).rejects.toMatchObject({ code: 'corrupt' });
      for (let i = 0; i < 2; i++) {
        const again = await content.ingestPath();
        writeFileSync(again, 'by a worker');
        await content.adopt(again, { digest, size: 11 }, { lease, labels: { [`n${i}`]: 'y' } });
        expect(existsSync(again)).toBe(false);
      }
      expect(readFileSync((await content.localPath(digest))!, 'utf8')).toBe('by a worker');
      expect((await content.info(digest))?.labels).toEqual({ n0: 'y', n1: 'y' });
      expect(await content.localPath(nowhere)).toBeUndefined();
    });
  });
}

/** Paths of the files that this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}
