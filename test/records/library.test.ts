/** Builds of the library are in the history of their root, as the command's are. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openHistory } from '../../src/api/buildkit/history/open.ts';
import { mkfile, scratch } from '../../src/llb/index.ts';
import { build, buildState } from '../../src/sdk/build.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-library-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('of a Dockerfile and of a state, well and not; not checks, and not where it is left out', async () => {
  const root = join(dir, 'root');
  writeFileSync(join(dir, 'f'), 'f');
  const options = { context: dir, root, dockerfileText: 'FROM scratch\nARG WHO\nCOPY f /\n' };
  await build({ ...options, tags: ['one'], buildArgs: { WHO: 'me' } });
  await buildState(scratch().file(mkfile('/a', 'a')), { root, tags: ['state'] });
  await expect(build({ ...options, dockerfileText: 'FROM scratch\nCOPY none /\n' })).rejects.toThrow('none');
  await build({ ...options, check: true });
  await build({ ...options, history: false });
  const history = openHistory(root);
  await history.settled();
  const records = await Array.fromAsync(history.list({ owner: `peer ${process.getuid?.()}`, all: false }));
  await history.close();
  expect(
    records.map(({ Frontend, Exporters, error }) => [Frontend, Exporters[0]?.Attrs.name, error?.message]),
  ).toEqual([
    ['dockerfile.v0', undefined, expect.stringContaining('/none')],
    ['', 'docker.io/library/state:latest', undefined],
    ['dockerfile.v0', 'docker.io/library/one:latest', undefined],
  ]);
  expect(records[2]?.FrontendAttrs['build-arg:WHO']).toBe('me');
});
