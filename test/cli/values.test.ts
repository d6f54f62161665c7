import { expect, test } from 'vitest';
import { buildArgs, extraHost, keyValues, secret, ssh } from '../../src/cli/build/values.ts';
import { splitCsv } from '../../src/cli/csv.ts';
import { ago, formatBytes, parseBytes, parseDuration, table } from '../../src/cli/units.ts';

test('build args take a value, an empty value, or the environment’s', () => {
  expect(buildArgs(['A=1', 'B=', 'C', 'D', 'E=a=b'], { C: 'c' })).toEqual({
    A: '1',
    B: '',
    C: 'c',
    E: 'a=b',
  });
  expect(() => buildArgs(['=x'], {})).toThrow('want NAME=VALUE');
});

test('labels', () => {
  expect(keyValues(['a=1', 'b', 'a=2'], 'label')).toEqual({ a: '2', b: '' });
});

test('hosts, with : or =, IPv6 in brackets or not', () => {
  expect(extraHost('db:10.0.0.1')).toEqual({ host: 'db', ip: '10.0.0.1' });
  expect(extraHost('db=[::1]')).toEqual({ host: 'db', ip: '::1' });
  expect(extraHost('db:fe80::1')).toEqual({ host: 'db', ip: 'fe80::1' });
  expect(() => extraHost('db')).toThrow('bad format');
});

test('secrets come from a file or a variable', () => {
  expect(secret('id=a,src=/x', {})).toEqual({ id: 'a', file: '/x' });
  expect(secret('id=a,env=B', {})).toEqual({ id: 'a', env: 'B' });
  expect(secret('id=TOKEN', { TOKEN: 't' })).toEqual({ id: 'TOKEN', env: 'TOKEN' });
  expect(secret('id=token', {})).toEqual({ id: 'token', file: 'token' });
  expect(secret('type=env,id=B', {})).toEqual({ id: 'B', env: 'B' });
  expect(() => secret('id=a,sauce=x', {})).toThrow("unexpected key 'sauce'");
});

test('ssh sources', () => {
  expect(ssh('default')).toEqual({ id: 'default', paths: [] });
  expect(ssh('git=/k1,/k2')).toEqual({ id: 'git', paths: ['/k1', '/k2'] });
});

test('comma-separated fields may be quoted', () => {
  expect(splitCsv('a,"b,c",d')).toEqual(['a', 'b,c', 'd']);
  expect(() => splitCsv('"a')).toThrow('not closed');
});

test('sizes and times', () => {
  expect([0, 999, 1000, 12_345_678, 5e9].map(formatBytes)).toEqual(['0B', '999B', '1kB', '12.35MB', '5GB']);
  expect(['10', '64m', '1.5GB', '2KiB'].map((text) => parseBytes(text, 'size'))).toEqual([
    10,
    64 << 20,
    1.5 * 2 ** 30,
    2048,
  ]);
  expect(() => parseBytes('big', 'shm-size')).toThrow('invalid shm-size "big"');
  expect(parseDuration('1h30m', 'until')).toBe(5_400_000);
  expect(() => parseDuration('soon', 'until')).toThrow('invalid until');
  expect(ago(0, 90_000)).toBe('1 minute ago');
});

test('tables line up', () => {
  expect(
    table([
      ['A', 'LONG'],
      ['abc', 'x'],
    ]),
  ).toBe('A     LONG\nabc   x\n');
});
