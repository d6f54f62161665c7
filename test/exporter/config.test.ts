import { expect, test } from 'vitest';
import { configBytes, finishConfig } from '../../src/exporter/config.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { ImageConfig } from '../../src/oci/types.ts';

const base: ImageConfig = {
  os: 'linux',
  architecture: 'amd64',
  created: '2020-01-01T00:00:00Z',
  rootfs: { type: 'layers', diff_ids: [] },
  history: [{ created: '2020-01-01T00:00:00Z', created_by: 'base' }],
};
const layer = (name: string, createdAt?: number) => ({ diffId: digestOf(name), createdAt });
const withSteps = (...steps: { created_by: string; empty_layer?: boolean }[]) => ({
  ...base,
  history: [...(base.history ?? []), ...steps],
});

test('an entry without a layer has the time of the next new layer, at the end that of the last', () => {
  const config = withSteps(
    { created_by: 'ENV', empty_layer: true },
    { created_by: 'RUN' },
    { created_by: 'CMD', empty_layer: true },
  );
  const made = finishConfig(config, [layer('base'), layer('run', Date.UTC(2024, 0, 2))], undefined);
  expect(made.history?.map(({ created }) => created)).toEqual([
    '2020-01-01T00:00:00Z',
    '2024-01-02T00:00:00Z',
    '2024-01-02T00:00:00Z',
    '2024-01-02T00:00:00Z',
  ]);
  expect(made.created).toBe('2024-01-02T00:00:00Z');
  expect(made.rootfs.diff_ids).toEqual([digestOf('base'), digestOf('run')]);
});

test('when no layer is new, everything is as old as the base', () => {
  const made = finishConfig(withSteps({ created_by: 'ENV', empty_layer: true }), [layer('base')], undefined);
  expect(made.history?.at(-1)?.created).toBe('2020-01-01T00:00:00Z');
  expect(made.created).toBe('2020-01-01T00:00:00Z');
});

test('SOURCE_DATE_EPOCH dates what is new, not the base', () => {
  const made = finishConfig(
    withSteps({ created_by: 'RUN' }),
    [layer('base'), layer('run', Date.now())],
    1000,
    base.history,
  );
  expect(made.history?.map(({ created }) => created)).toEqual([
    '2020-01-01T00:00:00Z',
    '1970-01-01T00:16:40Z',
  ]);
  expect(made.created).toBe('1970-01-01T00:16:40Z');
});

test('later times of a history that no base is known of become SOURCE_DATE_EPOCH, earlier ones stay', () => {
  const history = ['1960-01-01T00:00:00Z', '2026-01-01T00:00:00.5Z'].map((created) => ({ created }));
  const times = (known?: typeof history) =>
    finishConfig({ ...base, history }, [layer('a'), layer('b')], 1000, known).history?.map(
      ({ created }) => created,
    );
  expect(times()).toEqual(['1960-01-01T00:00:00Z', '1970-01-01T00:16:40Z']);
  expect(times(history)).toEqual(history.map(({ created }) => created));
  // What comes after the first difference is no longer the base's.
  const other = [{ created: '1961-01-01T00:00:00Z' }, ...history.slice(1)];
  expect(times(other)).toEqual(['1960-01-01T00:00:00Z', '1970-01-01T00:16:40Z']);
});

test('layers that the history does not know tell what made them', () => {
  const made = finishConfig(
    { ...base, history: [] },
    [
      { ...layer('base'), createdBy: 'pulled from base:1' },
      { ...layer('run', 0), createdBy: 'sh -c true' },
      layer('other'),
    ],
    undefined,
  );
  expect(made.history?.map(({ created_by, empty_layer }) => [created_by, empty_layer])).toEqual([
    ['pulled from base:1', undefined],
    ['sh -c true', undefined],
    [undefined, undefined],
  ]);
});

test('the bytes do not depend on the order of fields', () => {
  const other = Object.fromEntries(Object.entries(base).reverse()) as unknown as ImageConfig;
  expect(configBytes(other).equals(configBytes(base))).toBe(true);
});

test('nor on that of labels, ports and volumes, which clients send in any order', () => {
  const maps = (names: string[]) => {
    const Labels = Object.fromEntries(names.map((name) => [name, `of ${name}`]));
    const set = Object.fromEntries(names.map((name) => [name, {}]));
    return configBytes({ ...base, config: { ...base.config, Labels, ExposedPorts: set, Volumes: set } });
  };
  expect(maps(['b', 'a', 'c']).equals(maps(['c', 'b', 'a']))).toBe(true);
  expect(maps(['b', 'a']).toString()).toContain('"Labels":{"a":"of a","b":"of b"}');
});
