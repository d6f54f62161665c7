import { expect, test } from 'vitest';
import { callAnswer, parseCall, subrequestOf } from '../../src/cli/build/call.ts';

test('a method, with how it is shown', () => {
  expect(parseCall('check')).toEqual({ method: 'check', ignoreStatus: false });
  expect(parseCall('lint,format=json')).toEqual({ method: 'check', format: 'json', ignoreStatus: false });
  expect(parseCall('method=outline,ignorestatus=true')).toEqual({ method: 'outline', ignoreStatus: true });
  expect(['build', 'check', 'targets'].map(subrequestOf)).toEqual([undefined, undefined, 'frontend.targets']);
});

test.each([
  ['outlin', 'Did you mean outline?'],
  ['outline,format=xml', 'formats are json and text'],
  ['outline,ignorestatus=x', 'ignorestatus is true or false'],
  ['outline,nope=1', 'there is no field nope'],
])('%s is refused', (text, why) => {
  const err = (() => {
    try {
      return parseCall(text);
    } catch (cause) {
      return cause as Error & { hint?: string };
    }
  })();
  expect(`${(err as Error).message} ${(err as { hint?: string }).hint}`).toContain(why);
});

test('an answer as text or JSON, and its status', () => {
  const bytes = (text: string) => Buffer.from(text);
  const answer = { 'result.txt': bytes('t'), 'result.json': bytes('{}'), 'result.statuscode': bytes('1') };
  const result = { metadata: {}, warnings: [], answer };
  expect(callAnswer('outline', result)).toEqual({ text: 't\n', code: 1 });
  expect(callAnswer('outline,format=json,ignorestatus=1', result)).toEqual({ text: '{}\n', code: 0 });
  expect(() => callAnswer('outline', { ...result, answer: {} })).toThrow('gives no answer to --call=outline');
});
