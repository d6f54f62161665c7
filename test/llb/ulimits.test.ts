import { expect, test } from 'vitest';
import { parseUlimit, ulimitsOf } from '../../src/llb/ulimits.ts';

test('as they are written', () => {
  expect(parseUlimit('nofile=1024')).toEqual({ name: 'nofile', soft: 1024, hard: 1024 });
  expect(parseUlimit('nofile=10:20')).toEqual({ name: 'nofile', soft: 10, hard: 20 });
  expect(parseUlimit('core=-1')).toEqual({ name: 'core', soft: -1, hard: -1 });
});

test.each([
  ['nofile=20:10', 'ulimit soft limit must be less than or equal to hard limit: 20 > 10'],
  ['nofile=-1:10', 'ulimit soft limit must be less than or equal to hard limit: -1 > 10'],
  ['files=1', 'invalid ulimit type: files'],
  ['nofile', 'invalid ulimit argument: nofile'],
  ['nofile=99999999999999999999', 'its limits must be whole numbers'],
])('%s is none', (text, message) => {
  expect(() => parseUlimit(text)).toThrow(
    expect.objectContaining({ code: 'invalid', message: expect.stringContaining(message) }),
  );
});

test('of an op', () => {
  const limit = (Name: string, Soft: bigint) => ({ $typeName: 'pb.Ulimit', Name, Soft, Hard: 5n }) as const;
  expect(ulimitsOf([limit('nproc', 3n)])).toEqual([{ name: 'nproc', soft: 3, hard: 5 }]);
  expect(() => ulimitsOf([limit('nproc', 6n)])).toThrow('less than or equal');
});
