/** Amounts of memory as docker reads them, wherever a flag, a mount or a configuration takes one. */
import { expect, test } from 'vitest';
import { parseBytes } from '../../src/cli/units.ts';
import { parseSpace } from '../../src/daemon/buildkitd-gc.ts';
import { parseSize } from '../../src/frontend/dockerfile/parse/mount.ts';
import { ramInBytes } from '../../src/words/bytes.ts';

const readers = [
  ramInBytes,
  (text: string) => parseBytes(text, 'memory'),
  (text: string) => parseSpace(text, 'keepBytes'),
  parseSize,
];

test.each([
  ['10', 10],
  ['10b', 10],
  ['64m', 64 << 20],
  ['64MB', 64 << 20],
  ['64mib', 64 << 20],
  ['1.5 GiB', 1.5 * 2 ** 30],
  ['.5k', 512],
  ['0.3k', 307],
  ['2t', 2 * 2 ** 40],
  ['1P', 2 ** 50],
])('%s is %d bytes', (text, bytes) => {
  for (const read of readers) expect(read(text)).toBe(bytes);
});

test.each(['', 'm', 'big', '-1', '10ib', '10bb', '1  m', ' 1m', '1e3', '1.2.3', '9000000p'])(
  '%j is none',
  (text) => {
    expect(ramInBytes(text)).toBeUndefined();
    for (const read of readers.slice(1)) {
      expect(() => read(text)).toThrow(expect.objectContaining({ code: 'invalid' }));
    }
  },
);
