/** A git server that has as many refs as it likes, all of which end like the one that a build asks for. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { git, marshal } from '../../src/llb/llb.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startServer, type TestServer } from '../kit/http-server.ts';
import { solveRaw } from '../kit/raw-grpc.ts';
import { mostHold, usualHold } from '../kit/thread-time.ts';

/** A line of git's protocol: its length in four digits, and the text. */
const packet = (text: string) => `${(text.length + 4).toString(16).padStart(4, '0')}${text}`;
const sha = (i: number) => i.toString(16).padStart(40, '0');
const refs = (count: number) => {
  const lines = Array.from({ length: count }, (_, i) => packet(`${sha(i + 1)} refs/heads/${i}/main\n`));
  const first = packet(`${sha(0xfff)} HEAD\0symref=HEAD:refs/heads/0/main object-format=sha1\n`);
  return `${packet('# service=git-upload-pack\n')}0000${first}${lines.join('')}0000`;
};

let daemon: TestDaemon;
let server: TestServer;
let body: string;
beforeAll(async () => {
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
  server = await startServer((request, response) => {
    if (request.url?.includes('/info/refs') !== true) return response.writeHead(404).end();
    return response
      .writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' })
      .end(body);
  });
});
afterAll(async () => {
  await daemon.stop();
  await server.stop();
});

const solve = async (count: number) => {
  body = refs(count);
  let said = '';
  const hold = await usualHold(async () => {
    said = await solveRaw(daemon.socket, { Definition: marshal(git(`http://${server.host}/a.git`, 'main')) });
  });
  expect(hold).toBeLessThan(mostHold);
  return said;
};

test('60,000 refs of that end are looked through', async () => {
  expect(await solve(60_000)).toContain('repository does not contain ref main');
});

test('of half a million, no more than a few MiB are read', async () => {
  expect(await solve(500_000)).toContain('git has printed more than 4 MiB');
});
