/** Limits of steps as texts: options of the Dockerfile frontend, parameters of POST /build, flags. */
import { assert, constantFrom, integer, oneof, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import { dockerfileRequest } from '../../src/frontend/dockerfile/request-options.ts';
import { checkLimits, limitOptions, parseLimits, type StepLimits } from '../../src/llb/limits.ts';

const amount = integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const processors = constantFrom('0', '0-2,4', '8192');
const limits = record(
  {
    memory: amount,
    memorySwap: oneof(amount, constantFrom(-1)),
    cpuShares: integer({ min: 2, max: 262_144 }),
    cpuPeriod: integer({ min: 1000, max: 1_000_000 }),
    cpuQuota: integer({ min: 1000, max: Number.MAX_SAFE_INTEGER }),
    cpusetCpus: processors,
    cpusetMems: processors,
  },
  { requiredKeys: [] },
).filter((given) => {
  try {
    return checkLimits(given) === given;
  } catch {
    return false;
  }
});

test('options say what limits say', () => {
  assert(
    property(limits, (given) => {
      const options: Record<string, string> = limitOptions(given);
      const wanted: StepLimits | undefined = Object.keys(given).length === 0 ? undefined : given;
      expect(parseLimits((name) => options[name])).toEqual(wanted);
      expect(dockerfileRequest({ options, inputs: {} }).limits).toEqual(wanted);
    }),
  );
});

test('what is no limit is refused by name', () => {
  const of = (name: string, text: string) => () => parseLimits((each) => (each === name ? text : undefined));
  for (const text of ['0', '-1', '1.5', '64m', '99999999999999999999', 'x']) {
    expect(of('memory', text)).toThrow(`invalid memory value: ${text}: must be > 0`);
  }
  expect(of('memswap', '-2')).toThrow('must be -1 (unlimited) or > 0');
  for (const text of ['1-0', '0-8193', ',', 'a', '-1', '0-999999999']) {
    expect(of('cpusetcpus', text)).toThrow(`invalid cpusetcpus value: ${text}`);
  }
});

test('limits that cannot hold together are refused, in which way they may come', () => {
  expect(() => checkLimits({ memorySwap: 64 })).toThrow('needs a limit of memory');
  expect(() => checkLimits({ memory: 64, memorySwap: 32 })).toThrow('(32) is below the limit of memory (64)');
  expect(() => checkLimits({ memory: -5 })).toThrow('the limit of memory cannot be -5');
  expect(() => checkLimits({ cpuShares: 1 })).toThrow('CPU shares cannot be 1: want 2 to 262144');
  expect(() => checkLimits({ cpuPeriod: 10 })).toThrow('the CPU period cannot be 10: want 1000 to 1000000');
  expect(() => checkLimits({ cpuQuota: 10 })).toThrow('the CPU quota cannot be 10: want 1000 or more');
  for (const fine of [{}, { memorySwap: -1 }, { memory: 64, memorySwap: 64 }, { cpuQuota: -1 }]) {
    expect(checkLimits(fine)).toBe(fine);
  }
});
