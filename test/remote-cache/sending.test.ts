/** The layers of an exported cache: each is sent once, as soon as it is packed, and one failure ends it all. */
import { expect, test } from 'vitest';
import type { CacheLayer } from '../../src/exporter/index.ts';
import { digestOf } from '../../src/oci/index.ts';
import { Sending } from '../../src/remote-cache/sending.ts';

function layer(name: string): CacheLayer {
  const descriptor = { mediaType: 'x', digest: digestOf(name), size: 1 };
  return { descriptor, diffId: digestOf(name), size: 1, bring: async () => {} };
}

test('a layer that several trees have is sent once, and while others are being packed', async () => {
  const begun: string[] = [];
  const sending = new Sending(4, new AbortController(), async ({ descriptor }) => {
    begun.push(descriptor.digest);
  });
  await sending.during(async () => {
    void sending.layer(layer('a'));
    await expect.poll(() => begun).toEqual([digestOf('a')]); // the packing goes on meanwhile
    await Promise.all([sending.layer(layer('a')), sending.layer(layer('b'))]);
  });
  expect(begun).toEqual([digestOf('a'), digestOf('b')]);
});

test('a layer that cannot be sent stops the packing, and its own failure is told', async () => {
  const stop = new AbortController();
  const sending = new Sending(4, stop, async () => {
    throw new Error('the registry is full');
  });
  const packing = async () => {
    void sending.layer(layer('a'));
    await new Promise((_, reject) => {
      stop.signal.addEventListener('abort', () => reject(new Error('canceled')));
    });
  };
  await expect(sending.during(packing)).rejects.toThrow('the registry is full');
});

test('when the packing fails, what is being sent is stopped and waited for', async () => {
  const stop = new AbortController();
  let ended = false;
  const sending = new Sending(4, stop, async () => {
    await new Promise((resolve) => {
      stop.signal.addEventListener('abort', resolve);
    });
    ended = true;
  });
  const packing = async () => {
    void sending.layer(layer('a'));
    throw new Error('the disk is full');
  };
  await expect(sending.during(packing)).rejects.toThrow('the disk is full');
  expect(ended).toBe(true);
});
