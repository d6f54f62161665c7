/** Truth values have Go's twelve spellings, wherever a flag, an option or an attribute takes one. */
import { describe, expect, test } from 'vitest';
import { Query, readFilters } from '../../src/api/docker/http/query.ts';
import { buildFlags } from '../../src/cli/build/flags.ts';
import { parseFlags } from '../../src/cli/flags.ts';
import { settingsFromEnv } from '../../src/daemon/settings.ts';
import { parseImageAttrs } from '../../src/exporter/attrs.ts';
import { parseGitRef } from '../../src/frontend/dockerfile/convert/git-ref.ts';
import { parseCheckOptions } from '../../src/frontend/dockerfile/parse/check.ts';
import { parseMount } from '../../src/frontend/dockerfile/parse/mount.ts';
import { dockerfileRequest } from '../../src/frontend/dockerfile/request-options.ts';
import { ignoresError, parseExport } from '../../src/remote-cache/attrs.ts';
import { inlineByArg } from '../../src/remote-cache/spec-text.ts';
import { attrReader } from '../../src/source/attrs.ts';
import { parseBool } from '../../src/words/bool.ts';
import { boolFilter } from '../../src/words/index.ts';

const yes = ['1', 't', 'T', 'true', 'TRUE', 'True'];
const no = ['0', 'f', 'F', 'false', 'FALSE', 'False'];
const neither = ['tRUE', 'fALSE', 'yes', 'on', '2', ' true', 'truE'];

test('the spellings', () => {
  expect(yes.map(parseBool)).toEqual(yes.map(() => true));
  expect(no.map(parseBool)).toEqual(no.map(() => false));
  for (const text of [...neither, '']) expect(parseBool(text)).toBeUndefined();
});

/** Places that refuse what is no truth value, with the words that they do it in. */
const strict: [string, (text: string) => boolean | undefined, string][] = [
  [
    'a flag',
    (text) => parseFlags([`--no-cache=${text}`], buildFlags).flags['no-cache'],
    'want true or false',
  ],
  [
    'a setting in the environment',
    (text) => settingsFromEnv({ DRYDOCK_SYNC: text }).sync as boolean,
    'want true or false',
  ],
  ['an output', (text) => parseImageAttrs('image', { push: text }).push, 'is neither true nor false'],
  [
    'a cache',
    (text) => parseExport({ type: 'inline', attrs: { 'ignore-error': text } }).ignoreError,
    'non-bool value',
  ],
  ['a source', (text) => attrReader({ a: text }, 'git://x').flag('a'), 'is not true or false'],
  [
    'multi-platform',
    (text) => dockerfileRequest({ options: { 'multi-platform': text }, inputs: {} }).multiPlatform,
    'invalid boolean value for multi-platform',
  ],
  [
    'a query of a git URL',
    (text) => parseGitRef(`https://h/r.git?submodules=${encodeURIComponent(text)}`)?.submodules,
    'invalid submodules value',
  ],
  ['a mount', (text) => parseMount(`target=/a,readonly=${text}`).readonly, 'invalid value for readonly'],
  ['a check', (text) => parseCheckOptions(`error=${text}`).error, 'failed to parse check option'],
];

describe.each(strict)('%s', (_, read, refusal) => {
  test('takes them, and refuses all else', () => {
    expect(yes.map(read)).toEqual(yes.map(() => true));
    expect(no.map(read)).toEqual(no.map(() => false));
    for (const text of neither.filter((each) => each.trim() === each)) {
      expect(() => read(text)).toThrow(refusal);
    }
  });
});

test('where only "true" matters, anything else is false', () => {
  const inline = (text: string) => inlineByArg({ BUILDKIT_INLINE_CACHE: text }).length > 0;
  const ignores = (text: string) => ignoresError({ type: 'inline', attrs: { 'ignore-error': text } });
  for (const read of [inline, ignores]) {
    expect(yes.map(read)).toEqual(yes.map(() => true));
    for (const text of [...no, ...neither, '']) expect(read(text)).toBe(false);
  }
});

test('filters of Docker’s API have but four, and may not contradict', () => {
  const dangling = (...values: string[]) => {
    const query = new Query(`?filters=${encodeURIComponent(JSON.stringify({ dangling: values }))}`);
    return boolFilter(readFilters(query, ['dangling']), 'dangling');
  };
  expect(['1', 'true', '0', 'false'].map((text) => dangling(text))).toEqual([true, true, false, false]);
  expect(dangling()).toBeUndefined();
  expect(dangling('1', 'true')).toBe(true);
  for (const text of ['t', 'TRUE', 'F', '']) {
    expect(() => dangling(text)).toThrow(`invalid filter 'dangling=[${text}]'`);
  }
  expect(() => dangling('true', 'false')).toThrow("invalid filter 'dangling=[true false]'");
});
