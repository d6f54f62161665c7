/** Limits of steps as texts: options of the Dockerfile frontend, parameters of POST /build, flags. */
import { assert, constantFrom, integer, oneof, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import { dockerfileRequest } from '../../src/frontend/dockerfile/request-options.ts';
import { limitOptions, parseLimits, type StepLimits } from '../../src/llb/limits.ts';

const amount = integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const processors = constantFrom('0', '0-2,4', '8192');
const limits = record(
  {
    memory: amount,
    memorySwap: oneof(amount, constantFrom(-1)),
    cpuShares: amount,
    cpuPeriod: amount,
    cpuQuota: amount,
    cpusetCpus: processors,
    cpusetMems: processors,
  },
  { requiredKeys: [] },
);

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
