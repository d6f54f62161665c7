/** Passwords and tokens in URLs that a user types: no terminal shows them, and no file under the root has them. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cli } from '../kit/cli.ts';

const token = 'hunter-2222';
const cli = new Cli();
let folder: string;
let copies: string;
beforeAll(() => {
  folder = cli.files('context', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
  copies = cli.files('copies', { Dockerfile: 'FROM scratch\nCOPY --from=more / /\n' });
});
afterAll(() => cli.close());

function filesWith(text: string): string[] {
  return readdirSync(cli.root, { recursive: true, encoding: 'utf8' }).filter((name) => {
    const path = join(cli.root, name);
    return statSync(path).isFile() && readFileSync(path).includes(text);
  });
}

const ways: Record<string, () => string[]> = {
  'a git context': () => [`http://${token}@127.0.0.1:1/x.git`],
  'a git context with a ref': () => [`https://x-access-token:${token}@127.0.0.1:1/x.git#main`],
  'a context on a web server': () => [`http://user:${token}@127.0.0.1:1/x.tar`],
  'a named context': () => ['--build-context', `more=https://${token}@127.0.0.1:1/x.git`, copies],
  'a Dockerfile on a web server': () => ['-f', `http://user:${token}@127.0.0.1:1/Dockerfile`, folder],
  'a cache that is no reference': () => ['--cache-from', `https://user:${token}@127.0.0.1:1/cache`, folder],
};

test.each(Object.keys(ways))('%s', async (way) => {
  for (const mode of ['plain', 'rawjson']) {
    const { stdout, stderr } = await cli.run(['build', '--progress', mode, ...(ways[way]?.() ?? [])]);
    expect(stdout + stderr).toContain('127.0.0.1:1');
    expect(stdout + stderr).not.toContain(token);
  }
  expect((await cli.ok(['history', 'ls', '--no-trunc'])).stdout).not.toContain(token);
  expect(filesWith(token)).toEqual([]);
});

test('an image that is pulled by what is no reference', async () => {
  const { stderr } = await cli.run(['pull', `https://user:${token}@127.0.0.1:1/x`]);
  expect(stderr).toContain('127.0.0.1:1');
  expect(stderr).not.toContain(token);
});
