/** `--ui` without a daemon: the link that is printed leads to the builds of that command, and no others of the root. */
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';

const cli = new Cli();
let dir: string;
beforeAll(() => {
  dir = cli.files('app', {
    Dockerfile: 'FROM scratch\nCOPY root /\nENV PATH=/bin\nARG STEP\nRUN sh -c "$STEP"\n',
    'docker-bake.hcl': 'target "a" { args = { STEP = "sleep 99" } }\ntarget "b" { inherits = ["a"] }\n',
  });
  busyboxRoot(join(dir, 'root'));
});
afterAll(() => cli.close());

const refs = async () =>
  (await cli.ok(['history', 'ls', '-q'])).stdout.split('\n').filter((ref) => ref !== '');

/** Follows the link of a command while it builds, and stops it. Returns the address in the page. */
async function followed(...args: string[]): Promise<string> {
  const child = cli.start(args, { cwd: dir });
  let told = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    told += text;
  });
  await expect.poll(() => told).toMatch(/RUN sh -c/);
  const [, link = ''] = /link works once\): (\S+)/.exec(told) ?? [];
  const text = await (await fetch(link)).text();
  child.kill('SIGINT');
  await once(child, 'exit');
  return /url=\/ui\/(#[^"]*)/.exec(text)?.[1] ?? text;
}

test('build --ui: to the build, also when the history has others', async () => {
  await cli.ok(['build', '--build-arg', 'STEP=true', dir]);
  const [old] = await refs();
  const address = await followed('build', '--ui', '--build-arg', 'STEP=sleep 99', dir);
  const [ref] = await refs();
  expect(ref).not.toBe(old);
  expect(address).toBe(`#/builds?open=${ref}`);
});

test('bake --ui: to the builds of the targets', async () => {
  const before = await refs();
  const address = await followed('bake', '--ui', 'a', 'b');
  const made = (await refs()).filter((ref) => !before.includes(ref));
  expect(made).toHaveLength(2);
  expect(address.replace('#/builds?only=', '').split('.').sort()).toEqual(made.sort());
});
