/** Comma-separated fields, quoted as Go's clients and BuildKit read them, wherever an option is a list of them. */
import { array, assert, property, string } from 'fast-check';
import { expect, test } from 'vitest';
import { recordFilter } from '../../src/api/buildkit/history/filter.ts';
import { splitCsv } from '../../src/cli/csv.ts';
import { parseMount } from '../../src/frontend/dockerfile/parse/mount.ts';
import { dockerfileRequest } from '../../src/frontend/dockerfile/request-options.ts';
import { csvFields } from '../../src/words/csv.ts';

const fields = (text: string) => csvFields(text, (why) => new Error(why));

test('fields, bare and quoted', () => {
  expect(fields('')).toEqual(['']);
  expect(fields('a,,b,')).toEqual(['a', '', 'b', '']);
  expect(fields('a,"b,c",d')).toEqual(['a', 'b,c', 'd']);
  expect(fields('"say ""hi""",""')).toEqual(['say "hi"', '']);
  // Blanks belong to a field.
  expect(fields('a, b ,c')).toEqual(['a', ' b ', 'c']);
});

test('a quote stands at both ends of a field, or nowhere', () => {
  expect(() => fields('"a')).toThrow('a quote is not closed');
  expect(() => fields('"a"",b')).toThrow('a quote is not closed');
  expect(() => fields('a"b"')).toThrow('bare " in a field');
  expect(() => fields(' "a"')).toThrow('bare " in a field');
  expect(() => fields('"a"b')).toThrow('text behind a closing quote');
});

test('what is quoted is found again', () => {
  assert(
    property(array(string(), { minLength: 1 }), (list) => {
      expect(fields(list.map((field) => `"${field.replaceAll('"', '""')}"`).join(','))).toEqual(list);
    }),
  );
});

test('flags, mounts, filters and frontend options agree', () => {
  const options = (name: string, value: string) =>
    dockerfileRequest({ options: { [name]: value }, inputs: {} });
  const lists: [string, (text: string) => unknown][] = [
    ['a flag', splitCsv],
    ['a mount', (text) => parseMount(`target=/x,${text}`)],
    ['a filter of build records', (text) => recordFilter([text])],
    ['no-cache', (text) => options('no-cache', text)],
    ['add-hosts', (text) => options('add-hosts', text)],
    ['ulimit', (text) => options('ulimit', text)],
  ];
  for (const [name, read] of lists) {
    for (const bad of ['"id=a', 'id="a"', '"id=a"b']) {
      expect(() => read(bad), `${name}: ${bad}`).toThrow(expect.objectContaining({ code: 'invalid' }));
    }
  }
  expect(parseMount('type=cache,"target=/a,b"').target).toBe('/a,b');
  expect(options('no-cache', 'a,"b"').noCacheFilter).toEqual(['a', 'b']);
  expect(options('add-hosts', '"db=10.0.0.1",c=::1').extraHosts).toEqual([
    { host: 'db', ip: '10.0.0.1' },
    { host: 'c', ip: '::1' },
  ]);
});
