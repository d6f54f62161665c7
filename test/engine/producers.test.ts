/** Who made a tree that a build is handed: known to the builds of one tenant, as long as the build that made it goes on. */
import { expect, test } from 'vitest';
import { Producers } from '../../src/engine/bridge/producers.ts';
import { image, marshal, scratch } from '../../src/llb/llb.ts';

const tree = marshal(image('alpine').run('make').root());
const other = marshal(image('alpine').run('test').root());
const asked = (frontend: string) => ({ frontend, options: () => ({}) });
const [a, b, c] = [{}, {}, {}];

test('a build knows its own trees, and those of others of the same tenant until these end', () => {
  const producers = new Producers();
  producers.note(a, 'ann', tree, asked('one'));
  producers.note(a, 'ann', tree, asked('two'));
  expect(producers.find(a, 'ann', tree)?.frontend).toBe('one');
  expect(producers.find(b, 'ann', tree)?.frontend).toBe('one');
  expect(producers.find(b, 'ann', other)).toBeUndefined();
  expect(producers.find(b, 'bob', tree)).toBeUndefined();
  expect(producers.find(b, undefined, tree)).toBeUndefined();
  producers.forget(a);
  expect(producers.find(b, 'ann', tree)).toBeUndefined();
});

test('a tree that several others have made is nobody’s, but for a build that has made it itself', () => {
  const producers = new Producers();
  producers.note(a, undefined, tree, asked('one'));
  producers.note(b, undefined, tree, asked('two'));
  expect(producers.find(c, undefined, tree)).toBeUndefined();
  expect(producers.find(b, undefined, tree)?.frontend).toBe('two');
  producers.forget(a);
  expect(producers.find(c, undefined, tree)?.frontend).toBe('two');
});

test('the empty tree has no maker', () => {
  const producers = new Producers();
  producers.note(a, undefined, marshal(scratch()), asked('one'));
  expect(producers.find(a, undefined, marshal(scratch()))).toBeUndefined();
});
