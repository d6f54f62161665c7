/** `drydock cache mount …`: cache mounts are listed, moved by archives and folders, and removed. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';

const one = new Cli();
const other = new Cli();
beforeAll(async () => {
  await Promise.all([one.makeBase(), other.makeBase()]);
});
afterAll(async () => {
  await one.close();
  await other.close();
});

let steps = 0;
const run = (cli: Cli, command: string) =>
  cli.ok([
    ...['build', '--progress=plain', '--output=type=cacheonly'],
    cli.files(`step${++steps}`, {
      Dockerfile: `FROM base\nRUN --mount=type=cache,id=npm,target=/m : ${steps}; ${command}\n`,
    }),
  ]);
/** Where the mount was exported to or brought from, as `ls` shows it. */
const places = async (cli: Cli) => {
  const [, row = ''] = (await cli.ok(['cache', 'mount', 'ls'])).stdout.split('\n');
  return row.split(/ {2,}/).at(-1)?.split(' ');
};
/** The layers in a tar or a folder, without the cache's own documents. */
const layersIn = (archive: string) =>
  execFileSync('tar', ['tf', archive], { encoding: 'utf8' }).match(/^blobs\/sha256\/.+$/gm);

test('archives are whole, and none of them is in the way of a place that is written again', async () => {
  await run(one, 'head -c 400000 /dev/urandom > /m/first');
  const folder = join(one.dir, 'out');
  await one.ok(['cache', 'mount', 'export', 'npm', folder]);
  expect(await places(one)).toEqual([`local:${folder}`]);
  const archives = Array.from({ length: 6 }, (_, i) => join(one.dir, `a,${i}.tar`));
  for (const archive of archives) {
    await one.ok(['cache', 'mount', 'export', 'npm', archive]);
    expect(layersIn(archive)).toHaveLength(4);
  }
  // A name is kept only of what later exports can go on with.
  expect(await places(one)).toEqual([`local:${folder}`]);
  const before = readdirSync(join(folder, 'blobs/sha256'));
  await run(one, 'echo more > /m/second');
  await one.ok(['cache', 'mount', 'export', 'npm', folder]);
  const added = readdirSync(join(folder, 'blobs/sha256')).filter((name) => !before.includes(name));
  const bytes = added.reduce((sum, name) => sum + Number(sizeOf(join(folder, 'blobs/sha256', name))), 0);
  expect(bytes).toBeLessThan(20_000);
});

test('an archive brings the mount to another machine, under its own name', async () => {
  const archive = join(one.dir, 'moved.tar');
  await run(one, 'echo moved > /m/moved');
  await one.ok(['cache', 'mount', 'export', 'npm', archive]);
  const TMPDIR = other.files('tmp', {});
  const options = { env: { TMPDIR } };
  const { stderr } = await other.ok(
    ['cache', 'mount', 'import', 'npm', archive, '--progress=plain'],
    options,
  );
  expect(stderr).toContain(`importing cache manifest from ${archive}`);
  expect(await places(other)).toEqual([`archive:${archive}`]);
  expect((await run(other, 'cat /m/moved')).stderr).toContain('moved');
  expect((await other.ok(['cache', 'mount', 'prune', 'npm'])).stdout).toMatch(
    /^\/npm\nTotal reclaimed space: /,
  );
  expect((await other.ok(['cache', 'mount', 'ls'])).stdout.trim().split('\n')).toHaveLength(1);
  expect(readdirSync(TMPDIR)).toEqual([]);
});

test('what is not there is named, and nothing is left', async () => {
  const archive = join(one.dir, 'none.tar');
  const unknown = await one.run(['cache', 'mount', 'export', 'pip', archive]);
  expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('there is no cache mount pip')]);
  expect(existsSync(archive)).toBe(false);
  const missing = await one.run(['cache', 'mount', 'import', 'npm', archive]);
  expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('none.tar')]);
});

function sizeOf(path: string): string {
  return execFileSync('stat', ['-c', '%s', path], { encoding: 'utf8' });
}
