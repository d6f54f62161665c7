/** What an image output does with its layers: what is wanted as a blob, how it is packed, and what the image keeps. */
import { describe, expect, test } from 'vitest';
import { parseImageAttrs } from '../../src/exporter/attrs.ts';
import { type ImagePlan, imagePlan } from '../../src/exporter/image-plan.ts';
import type { Compression } from '../../src/layer/types.ts';

type Where = Parameters<typeof imagePlan>[1];
const plan = (attrs: Record<string, string>, where: Where): ImagePlan =>
  imagePlan(parseImageAttrs('image', attrs), where);
const told = ({ blobs, keeps, compression, sent }: ImagePlan): string =>
  [blobs, keeps, compression.type, ...(sent ? ['sent'] : [])].join(' ');

const incomplete = 'unsafe-internal-store-allow-incomplete';
const gzipCache: Compression = { type: 'gzip', level: 6 };

describe('in our own store', () => {
  test.each<[string, Record<string, string>, string]>([
    ['layers are snapshots, and only hashed', {}, 'none here uncompressed'],
    ['what is to be packed is packed, and kept', { compression: 'zstd' }, 'new here zstd'],
    ['all in one compression: gzip', { 'force-compression': '' }, 'new here gzip'],
    ['a push by name sends what the store has', { push: '' }, 'new here gzip'],
    [
      'pushed uncompressed it goes as it was made',
      { push: '', compression: 'uncompressed' },
      'all all uncompressed sent',
    ],
    ['pushed by its digest, too', { push: '', 'push-by-digest': '' }, 'all all gzip sent'],
    ['by digest, but not pushed', { 'push-by-digest': '' }, 'none here uncompressed'],
    ['an image there is whole in any case', { [incomplete]: '' }, 'none here uncompressed'],
    ['an image that goes nowhere', { store: 'false' }, 'none here uncompressed'],
    ['pushed alone', { store: 'false', push: '' }, 'all all gzip sent'],
  ])('%s: %o', (_, attrs, expected) => {
    expect(told(plan(attrs, { shared: false }))).toBe(expected);
  });

  test('a cache that is exported as well packs layers for itself: the image keeps none', () => {
    const where = { shared: false, cache: gzipCache };
    expect(plan({}, where)).toMatchObject({ blobs: 'new', keeps: 'older', compression: gzipCache });
    expect(told(plan({}, { shared: false, cache: { type: 'zstd' } }))).toBe('none here uncompressed');
    // What the output itself is asked for counts.
    expect(told(plan({ compression: 'zstd' }, where))).toBe('new here zstd');
    expect(plan({ push: '' }, where).compression).toEqual({ type: 'gzip' });
  });

  test('layers whose times are clamped are not those that they were', () => {
    expect(told(plan({}, { shared: false, epoch: 0 }))).toBe('new here uncompressed');
  });
});

describe('in a store that others read', () => {
  test.each<[string, Record<string, string>, string]>([
    ['an image is whole', {}, 'all all uncompressed'],
    ['a push by name sends what the store has', { push: '' }, 'all all gzip'],
    ['layers that a registry has may stay there', { [incomplete]: '' }, 'none named uncompressed'],
    ['those that are to be packed are', { [incomplete]: '', compression: 'gzip' }, 'new named gzip'],
    ['a push of it fetches the others', { [incomplete]: '', push: '' }, 'new named gzip'],
    [
      'by its digest it is sent whole',
      { [incomplete]: '', push: '', 'push-by-digest': '' },
      'all all gzip sent',
    ],
    ['an image that goes nowhere', { store: 'false' }, 'none here uncompressed'],
    ['pushed alone', { store: 'false', push: '', [incomplete]: '' }, 'all all gzip sent'],
  ])('%s: %o', (_, attrs, expected) => {
    expect(told(plan(attrs, { shared: true }))).toBe(expected);
  });

  test('the cache’s packing is the image’s', () => {
    expect(told(plan({}, { shared: true, cache: gzipCache }))).toBe('all all gzip');
    expect(told(plan({ [incomplete]: '' }, { shared: true, cache: gzipCache }))).toBe('new named gzip');
  });
});

test('a layer stays as a registry has it unless compression or times are asked for', () => {
  const asPublished = (attrs: Record<string, string>, epoch?: number) =>
    plan(attrs, { shared: false, epoch }).asPublished;
  expect(asPublished({})).toBe(true);
  expect(asPublished({ push: '', 'force-compression': '' })).toBe(true);
  expect(asPublished({ compression: 'gzip' })).toBe(false);
  expect(asPublished({}, 0)).toBe(false);
});

test('of all outputs: what is sent, or others read, is whole; what nobody asked for is not packed', () => {
  const bools = ['push', 'push-by-digest', 'force-compression', incomplete];
  const compressions = ['', 'uncompressed', 'gzip', 'zstd'];
  for (let bits = 0; bits < 1 << (bools.length + 2); bits++) {
    const attrs: Record<string, string> = { store: String((bits & 1) === 0) };
    for (const [i, name] of bools.entries()) if ((bits & (4 << i)) !== 0) attrs[name] = '';
    const shared = (bits & 2) !== 0;
    for (const compression of compressions) {
      for (const cache of [undefined, gzipCache]) {
        const all = compression === '' ? attrs : { ...attrs, compression };
        const want = parseImageAttrs('image', all);
        const found = plan(all, { shared, cache });
        const mustBeWhole = found.sent || (shared && want.store && !want.allowIncomplete);
        expect([found.blobs === 'all', found.keeps === 'all']).toEqual([mustBeWhole, mustBeWhole]);
        if (want.push && !want.store) expect(found.sent).toBe(true);
        if (!want.push) expect(found.sent).toBe(false);
        const asked = want.push || want.forceCompression || compression !== '';
        if (!mustBeWhole) expect(found.blobs).toBe(asked || cache !== undefined ? 'new' : 'none');
        if (found.keeps === 'older') expect([asked, shared && want.allowIncomplete]).toEqual([false, false]);
        if (compression !== '') expect(found.compression.type).toBe(compression);
      }
    }
  }
});
