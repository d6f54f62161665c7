/** Chains of steps are looked up in a fleet's cache in one round. */
import { afterEach, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/types.ts';
import type { FleetCache } from '../../src/solver/fleet-cache.ts';
import { Graphs } from './graph.ts';

const g = new Graphs();
afterEach(() => g.remove());

test('all keys of a chain are asked for before the first is answered', async () => {
  const steps = 20;
  const asked = new Set<Digest>();
  let all = () => {};
  const allAsked = new Promise<void>((resolve) => {
    all = resolve;
  });
  const looked: Digest[] = [];
  const filed: Digest[][] = [];
  const fleet: FleetCache = {
    async expect(key) {
      asked.add(key);
      if (asked.size === steps) all();
      return undefined;
    },
    async find(key) {
      looked.push(key);
      await allAsked;
      return undefined;
    },
    async write({ keys }) {
      filed.push([...keys]);
    },
  };
  g.fleet = fleet;
  await g.open();
  let top = g.vertex('base', [], { source: 'docker-image://base' });
  for (let i = 0; i < steps; i++) top = g.vertex(`step ${i}`, [top]);
  const build = g.build();
  expect(await g.solve(top, build)).toBe(`step ${steps - 1}`);
  // What was asked ahead is what was looked up, and what was made is filed under it.
  expect([...asked].sort()).toEqual([...new Set(looked)].sort());
  expect(filed.flat().sort()).toEqual([...asked].sort());
  await g.solver.release(build.job);

  // What is here is asked of nobody.
  asked.clear();
  const again = g.build();
  await g.solve(top, again);
  expect(asked.size).toBe(0);
  await g.solver.release(again.job);
});
