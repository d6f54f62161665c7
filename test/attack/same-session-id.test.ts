/** A session's ID is made up by its client. Builds of two owners that name equal ones share no folder and no upload. */
import { expect, test } from 'vitest';
import { loadGraph } from '../../src/llb/graph.ts';
import { local, marshal, mkfile } from '../../src/llb/llb.ts';
import { SessionManager } from '../../src/session/manager.ts';
import { namedSession } from '../../src/session/named-session.ts';
import { workKey } from '../../src/solver/keys.ts';
import { Pins } from '../../src/solver/pins.ts';

const manager = new SessionManager();
const definition = marshal(local('context').file(mkfile('/a', 'a')));

/** What tells the work of a build from that of others, for each of its vertices, as on a daemon without a policy. */
function keysFor(owner: string): string[] {
  const job = { session: namedSession(manager, 'same', { owner }), allow: [], pins: new Pins() };
  const keys = new Map<string, string>();
  for (const vertex of loadGraph(definition).vertices) {
    const inputs = vertex.inputs.map((input) => keys.get(input.vertex.digest) ?? '');
    keys.set(vertex.digest, workKey(vertex, job, inputs));
  }
  return [...keys.values()];
}

test('work on a folder is joined by builds of its owner alone', () => {
  const anns = keysFor('uid 1000');
  expect(anns.length).toBeGreaterThan(1);
  expect(keysFor('uid 1000')).toEqual(anns);
  for (const key of keysFor('uid 1001')) expect(anns).not.toContain(key);
});
