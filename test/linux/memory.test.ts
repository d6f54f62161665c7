/** Pages of programs that are given up: those that are as they are in their files. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { forgetProgram, ProgramPages, unchangedMappings } from '../../src/linux/memory.ts';

/** One mapping as the kernel tells of it. */
function mapping(head: string, { rss = 4096, dirty = 0, anonymous = 0 } = {}): string {
  return [
    head,
    'Size:              45000 kB',
    `Rss:               ${rss} kB`,
    `Private_Dirty:      ${dirty} kB`,
    `Anonymous:         ${anonymous} kB`,
    'Swap:                  0 kB',
    'VmFlags: rd ex mr mw me sd',
    '',
  ].join('\n');
}

test('code and constants of files are among them, and nothing that was written to', () => {
  const smaps = [
    mapping('00400000-00830000 r--p 00000000 fe:00 1234                    /opt/node'),
    mapping('00830000-03400000 r-xp 0042e000 fe:00 1234                    /opt/node', { rss: 20_000 }),
    mapping('03400000-03410000 r--p 02ffe000 fe:00 1234                    /opt/node', { dirty: 64 }),
    mapping('03410000-03420000 r--p 02ffe000 fe:00 1234                    /opt/node', { anonymous: 64 }),
    mapping('03420000-03430000 rw-p 0300e000 fe:00 1234                    /opt/node'),
    mapping('04000000-05000000 rw-p 00000000 00:00 0                       [heap]'),
    mapping('7f0000000000-7f0000100000 r--p 00000000 00:00 0'),
    mapping('7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0               [vdso]'),
  ].join('');
  expect(unchangedMappings(smaps)).toEqual([
    { path: '/opt/node', from: 0x400000n, to: 0x830000n, resident: 4096 },
    { path: '/opt/node', from: 0x830000n, to: 0x3400000n, resident: 20_000 },
  ]);
});

test('they are no longer counted as this process’s memory, and it goes on', () => {
  const resident = () =>
    Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  const before = resident();
  expect(forgetProgram()).toBeGreaterThan(0);
  expect(resident()).toBeLessThan(before);
  expect([3, 1, 2].sort()).toEqual([1, 2, 3]);
});

test('a program that was replaced on the disk is told by its old name', () => {
  const gone = '/opt/node (deleted)';
  const smaps = mapping(`00400000-00830000 r--p 00000000 fe:00 1234                    ${gone}`);
  expect(unchangedMappings(smaps)).toMatchObject([{ path: gone }]);
});

test('those of the program can be given up again and again', async () => {
  const resident = () =>
    Number(/^RssFile:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  const pages = await ProgramPages.find();
  for (let i = 0; i < 3; i++) {
    JSON.stringify(process.versions).localeCompare('x');
    const before = resident();
    pages.forget();
    expect(resident()).toBeLessThan(before);
  }
});
