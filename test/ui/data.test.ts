/** What the page makes of its data: layers of a graph, the critical path, pairs of steps, colours, statements. */
import { describe, expect, test } from 'vitest';
import type { Step } from '../../src/api/ui/types.ts';
import { atOnce } from '../../src/workers/index.ts';
import { spansOf } from '../../ui/data/ansi.ts';
import { bytes, count, duration, time } from '../../ui/data/format.ts';
import { layoutOf } from '../../ui/data/layout.ts';
import { materialsOf, packagesOf } from '../../ui/data/statements.ts';
import { criticalPath, partners, stateOf } from '../../ui/data/steps.ts';

function step(
  digest: string,
  inputs: string[] = [],
  from?: number,
  to?: number,
  more: Partial<Step> = {},
): Step {
  return { digest, inputs, name: digest, startedAt: from, completedAt: to, lines: 0, transfers: [], ...more };
}

describe('the graph', () => {
  test('each step stands below all that it is made of, whatever the order', () => {
    const { byDigest, layers } = atOnce(
      layoutOf([step('d', ['b', 'c']), step('c', ['a']), step('b', ['c']), step('a')]),
    );
    const layer = (digest: string) => byDigest.get(digest)?.layer;
    expect(['a', 'c', 'b', 'd'].map(layer)).toEqual([0, 1, 2, 3]);
    expect(layers).toBe(4);
  });

  test('a hostile circle and unknown inputs end', () => {
    const { nodes } = atOnce(layoutOf([step('a', ['b']), step('b', ['a', 'nowhere']), step('c', ['c'])]));
    expect(nodes).toHaveLength(3);
  });

  test('neighbours stand beside each other rather than across', () => {
    const { byDigest } = atOnce(layoutOf([step('a'), step('b'), step('b2', ['b']), step('a2', ['a'])]));
    const place = (digest: string) => byDigest.get(digest)!.place;
    expect(place('a2') - place('b2')).toBe(place('a') - place('b'));
  });
});

test('the critical path goes over the input that was waited for, and before an export over what ended last', () => {
  const steps = [step('base', [], 0, 10), step('slow', ['base'], 10, 90), step('quick', ['base'], 10, 20)];
  const end = [step('join', ['quick', 'slow'], 90, 95), step('export', [], 96, 99)];
  expect([...criticalPath([...steps, ...end], 99)]).toEqual(['export', 'join', 'slow', 'base']);
});

test('states', () => {
  expect(stateOf(step('a'))).toBe('waiting');
  expect(stateOf(step('a', [], 1))).toBe('running');
  expect(stateOf(step('a', [], 1, 2, { cached: true }))).toBe('cached');
  expect(stateOf(step('a', [], 1, 2, { error: 'exit code: 1' }))).toBe('failed');
  const ended = (error: string) => stateOf(step('a', [], 1, 2, { error }));
  expect(
    ['CANCELED', 'context canceled', 'rpc error: context canceled', 'context canceled: SIGINT'].map(ended),
  ).toEqual(Array(4).fill('canceled'));
  // The words of a step are its own.
  expect(ended('process "/bin/sh -c echo context canceled" did not complete successfully')).toBe('failed');
  expect(ended('the order was cancelled')).toBe('failed');
});

test('steps of two builds are paired: the same, else those of one name, else those in one place', () => {
  const named = (digest: string, name: string) => step(digest, [], 0, 1, { name });
  const before = [
    named('1', '[a 1/3] COPY x'),
    named('2', '[a 2/3] RUN make'),
    named('3', '[a 3/3] RUN old'),
  ];
  const after = [named('9', '[a 1/3] COPY x'), named('2', '[a 2/3] RUN make'), named('7', '[a 3/3] RUN new')];
  const pairs = partners(before, [...after, named('8', 'another')]);
  expect(pairs.map(([a, b]) => [a?.digest, b?.digest])).toEqual([
    ['1', '9'],
    ['2', '2'],
    ['3', '7'],
    [undefined, '8'],
  ]);
});

describe('terminal output', () => {
  test('colours', () => {
    expect(spansOf('a\u001b[1;31mb\u001b[0mc')).toEqual([
      { text: 'a', classes: '' },
      { text: 'b', classes: 'bold fg1' },
      { text: 'c', classes: '' },
    ]);
    expect(spansOf('\u001b[38;2;1;2;300mx')[0]?.color).toBe('rgb(1 2 255)');
    expect(spansOf('\u001b[48;5;196mx')[0]?.background).toBe('rgb(255 0 0)');
    expect(spansOf('\u001b[38;5;9mx')[0]?.classes).toBe('fg9');
  });

  test('what is overwritten, other sequences and signs that turn text round are not shown', () => {
    expect(spansOf('10%\r50%\r100%\r')[0]?.text).toBe('100%');
    expect(spansOf('\u001b]0;title\u0007\u001b[2Kx\u0000')).toEqual([{ text: 'x', classes: '' }]);
    expect(spansOf('a\u202eb')[0]?.text).toBe('a\ufffdb');
  });

  test('a line has no more pieces and letters than a row can show', () => {
    const colours = spansOf('\u001b[31mX\u001b[1mY'.repeat(5000));
    expect(colours.length).toBe(65);
    expect(colours.at(-1)?.text).toBe(`${'XY'.repeat(968)}… [8000 more characters]`);
    expect(spansOf('w'.repeat(1_000_000))).toEqual([
      { text: `${'w'.repeat(2000)}… [998000 more characters]`, classes: '' },
    ]);
    const two = spansOf(`${'a'.repeat(1999)}\u001b[1mbc\u001b[0md`).map(({ text }) => text);
    expect(two.slice(1)).toEqual(['b… [2 more characters]']);
  });
});

test('packages of SPDX and CycloneDX, materials of both provenances', () => {
  const purl = { referenceLocator: 'pkg:deb/debian/zlib@1' };
  expect(
    packagesOf({ predicate: { packages: [{ name: 'zlib', versionInfo: '1', externalRefs: [purl] }] } }),
  ).toEqual([{ name: 'zlib', version: '1', kind: 'deb', licence: '' }]);
  const component = { name: 'x', version: '2', purl: 'pkg:npm/x@2', licenses: [{ license: { id: 'MIT' } }] };
  expect(packagesOf({ components: [component] })).toEqual([
    { name: 'x', version: '2', kind: 'npm', licence: 'MIT' },
  ]);
  expect(packagesOf({ buildDefinition: {} })).toBeUndefined();
  expect(packagesOf({ packages: [null, 7] })).toHaveLength(2);
  const uri = { uri: 'pkg:docker/a', digest: { sha256: 'f' } };
  const material = [{ uri: 'pkg:docker/a', digest: 'sha256:f' }];
  expect(materialsOf({ materials: [uri] })).toEqual(material);
  expect(materialsOf({ buildDefinition: { resolvedDependencies: [uri] } })).toEqual(material);
});

test('numbers for people', () => {
  expect([5, 1500, 65_000, 3_720_000].map(duration)).toEqual(['5 ms', '1.5 s', '1 m 05 s', '1 h 02 m']);
  expect([count(1, 'line'), count(1_234_567, 'line')]).toEqual(['1 line', '1,234,567 lines']);
  const noon = new Date(2026, 2, 3, 12, 5, 9).getTime();
  expect(time(noon, noon)).toBe('12:05:09');
  expect(time(noon, noon + 86_400_000)).toBe('2026-03-03 12:05');
  expect([0, 999, 1400, 999_600].map(bytes)).toEqual(['0 B', '999 B', '1.4 kB', '1.0 MB']);
});
