/** What outputs and caches, the command and frontends say in the same attributes, they say in the same words. */
import { describe, expect, test } from 'vitest';
import { frontendEpoch } from '../../src/engine/bridge/platforms.ts';
import type { BridgeResult } from '../../src/engine/bridge/types.ts';
import { parseFileAttrs, parseImageAttrs } from '../../src/exporter/attrs.ts';
import { parseExport } from '../../src/remote-cache/attrs.ts';
import { epochSeconds } from '../../src/words/epoch.ts';

describe.each<[string, (attrs: Record<string, string>) => unknown]>([
  ['an output', (attrs) => parseImageAttrs('oci', attrs).compression],
  ['a cache', (attrs) => parseExport({ type: 'local', attrs: { dest: '/c', ...attrs } }).compression],
])('compression of %s', (_, read) => {
  test.each<[string | undefined, string | undefined, object]>([
    ['gzip', undefined, { type: 'gzip' }],
    ['gzip', '0', { type: 'gzip', level: 0 }],
    ['gzip', '9', { type: 'gzip', level: 9 }],
    [undefined, '1', { type: 'gzip', level: 1 }],
    ['zstd', '22', { type: 'zstd', level: 22 }],
    // BuildKit's zstd takes 0 for the fastest.
    ['zstd', '0', { type: 'zstd', level: 1 }],
    ['uncompressed', '5', { type: 'uncompressed' }],
    ['estargz', '9', { type: 'estargz', level: 9 }],
    ['zstdchunked', '0', { type: 'zstdchunked', level: 1 }],
    // As buildah and podman call it.
    ['zstd:chunked', undefined, { type: 'zstdchunked' }],
  ])('%s %s', (compression, level, wanted) => {
    const attrs = {
      ...(compression !== undefined && { compression }),
      ...(level !== undefined && { 'compression-level': level }),
    };
    expect(read(attrs)).toEqual(wanted);
  });

  test('what is none of them is refused', () => {
    const level = (compression: string, text: string) => () =>
      read({ compression, 'compression-level': text });
    for (const bad of [level('gzip', '10'), level('zstd', '23'), level('gzip', 'fast'), level('gzip', '')]) {
      expect(bad).toThrow(expect.objectContaining({ code: 'invalid' }));
    }
    for (const kind of ['brotli', '', 'toString']) {
      expect(() => read({ compression: kind })).toThrow(expect.objectContaining({ code: 'invalid' }));
    }
  });
});

test('an epoch is a whole number of seconds that a Date can hold', () => {
  expect([epochSeconds('0'), epochSeconds('1700000000'), epochSeconds('999999999999')]).toEqual([
    0, 1_700_000_000, 999_999_999_999,
  ]);
  const made = (text: string) =>
    ({ metadata: { 'source.date.epoch': Buffer.from(text) } }) as unknown as BridgeResult;
  for (const text of ['', '-1', '1.5', '1e9', ' 1', '1000000000000']) {
    expect(epochSeconds(text)).toBeUndefined();
    if (text === '') continue;
    const message = `source-date-epoch=${text} is not a number of seconds`;
    expect(() => parseImageAttrs('image', { 'source-date-epoch': text })).toThrow(message);
    expect(() => parseFileAttrs('tar', { 'source-date-epoch': text })).toThrow(message);
    expect(() => frontendEpoch(made(text))).toThrow(`invalid SOURCE_DATE_EPOCH from frontend: ${text}`);
  }
});

test('a cache in a folder is emptied for a truth value alone', () => {
  const reset = (text: string) => () => parseExport({ type: 'local', attrs: { dest: '/c', reset: text } });
  for (const text of ['true', '0', '']) reset(text)();
  expect(reset('maybe')).toThrow('non-bool value "maybe" specified for reset');
});
