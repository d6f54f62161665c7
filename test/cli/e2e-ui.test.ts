/** The page without a daemon: `drydock ui` of a root's builds, and `build --ui` of the one that runs. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';

const cli = new Cli();
let dir: string;
beforeAll(async () => {
  await cli.makeBase();
  dir = cli.files('slow', { Dockerfile: 'FROM base\nRUN echo began; sleep 3\n' });
});
afterAll(() => cli.close());

/** Follows the link that a command prints, and gives what asks the page's API as the browser would. */
async function openedBy(child: ChildProcess) {
  let told = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text) => (told += String(text)));
  await expect.poll(() => told, { timeout: 60_000 }).toMatch(/http:\/\/127\S+\/open\/\S+/);
  const link = /http:\/\/127\S+\/open\/[\w-]+/.exec(told)?.[0] ?? '';
  const cookie = (await fetch(link)).headers.get('set-cookie')?.split(';')[0] ?? '';
  return async (path: string) =>
    (await fetch(new URL(`/ui/api/v1${path}`, link), { headers: { cookie } })).json();
}

async function ended(child: ChildProcess): Promise<number> {
  child.kill('SIGINT');
  const [code] = await once(child, 'exit');
  return code as number;
}

test('build --ui: the build that runs, and those that ended before; the history has it afterwards', async () => {
  await cli.ok(['build', '-q', '-t', 'before', cli.files('quick', { Dockerfile: 'FROM base\nLABEL a=b\n' })]);
  const child = cli.start(['build', '--ui', '--progress=plain', '-t', 'slow', dir]);
  const ask = await openedBy(child);
  const seen = async () => {
    const { builds } = (await ask('/builds')) as { builds: { name: string; state: string }[] };
    return builds.map(({ name, state }) => `${name} ${state}`);
  };
  await expect.poll(seen, { timeout: 30_000 }).toContain('docker.io/library/slow:latest running');
  expect(await seen()).toContain('docker.io/library/before:latest completed');
  await expect.poll(seen, { timeout: 60_000 }).toContain('docker.io/library/slow:latest completed');
  expect(await ended(child)).toBe(0);
  const { stdout } = await cli.ok(['history', 'ls', '--format', '{{.Name}} {{.Status}}']);
  expect(stdout.split('\n')[0]).toBe('docker.io/library/slow:latest Completed');
});

test('ui: the builds of the root, with the output of their steps', async () => {
  const child = cli.start(['ui', '--open=false']);
  const ask = await openedBy(child);
  const { builds } = (await ask('/builds')) as { builds: { ref: string; name: string }[] };
  const slow = builds.find(({ name }) => name.includes('slow'));
  expect(slow).toBeDefined();
  expect(JSON.stringify(await ask(`/builds/${slow?.ref}`))).toContain('RUN echo began');
  expect(await ended(child)).toBe(0);
});
