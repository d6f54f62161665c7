/** Output that comes faster than the client of builder version 1 reads, or before the steps above it have ended. */
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildkitApi } from '../../../src/api/buildkit/server.ts';
import { HeldOutput, leftOut } from '../../../src/api/docker/build/held-output.ts';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';
import { onLocal } from '../../kit/stores.ts';

const lines = 800_000;
/** About 5.5 MB, as `seq` writes them. */
const counted = Array.from({ length: lines }, (_, i) => `${i + 1}\n`).join('');

interface Line {
  stream?: string;
  error?: string;
}

onLocal('a client of POST /build that does not read', (store) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon({ ...store.options(), grpc: buildkitApi });
  });
  afterAll(() => daemon.stop());

  /** Builds, and reads nothing after the answer has begun until the daemon has recorded the build's end. */
  const buildAndPause = async (steps: string, query = '') => {
    const body = tarOf({
      Dockerfile: `FROM scratch AS base\nCOPY busybox /bin/sh\n${steps}\n`,
      busybox: { data: readFileSync('/bin/busybox'), mode: 0o755 },
    });
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const path = `/build?version=1&nocache=1${query}`;
      const asked = request({ socketPath: daemon.socket, method: 'POST', path, agent: false }, resolve);
      asked.on('error', reject);
      asked.end(body);
    });
    answer.pause();
    await expect.poll(async () => (await states()).every((state) => state !== 'running')).toBe(true);
    const objects = (await text(answer)).split('\r\n').filter((line) => line !== '');
    return objects.map((line) => JSON.parse(line) as Line);
  };
  const states = async () =>
    (await daemon.ask('GET', '/ui/api/v1/builds'))
      .json<{ builds: { state: string }[] }>()
      .builds.map(({ state }) => state);
  const told = (objects: Line[]) => objects.map(({ stream = '' }) => stream).join('');

  test('gets all of it when it reads on', async () => {
    const output = told(await buildAndPause(`RUN seq ${lines}`));
    expect(output).toContain(`${counted} ---> Removed intermediate container`);
    expect(output).toMatch(/Successfully built [0-9a-f]{12}\n$/);
  });

  test('gets the output of a failed step to its end, then the error', async () => {
    const objects = await buildAndPause(`RUN seq ${lines}; exit 3`);
    expect(told(objects).endsWith(counted)).toBe(true);
    expect(objects.at(-1)?.error).toContain('returned a non-zero code: 3');
  });

  test('gets the steps one after the other, also those that ran beside each other', async () => {
    const stage = (name: string) => `FROM base AS ${name}\nRUN seq ${lines} && echo ${name} >/${name}\n`;
    const join = 'FROM base\nCOPY --from=one /one /\nCOPY --from=two /two /';
    const output = told(await buildAndPause(`${stage('one')}${stage('two')}${join}`));
    const [, first = '', second = ''] = output.split(/^Step \d+\/\d+ : RUN .*\n/m);
    for (const each of [first, second]) expect(each).toContain(`\n${counted} ---> Removed`);
  });

  test('with q=1 gets the ID alone', async () => {
    const objects = await buildAndPause(`RUN seq ${lines}`, '&q=1');
    expect(objects).toEqual([{ stream: expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/) }]);
  });
});

describe('held output', () => {
  const all = (held: HeldOutput, vertex: string) => {
    const parts: string[] = [];
    for (let part = held.take(vertex); part !== undefined; part = held.take(vertex)) parts.push(part);
    return parts.join('');
  };

  test('comes back in the order of each vertex, whatever came between', async () => {
    const held = new HeldOutput({ folder: process.env.TMPDIR ?? '/tmp' });
    const names = Array.from({ length: 40 }, (_, i) => `v${i}`);
    const given = new Map(names.map((name) => [name, '']));
    for (let round = 0; round < 300; round++) {
      for (const [i, name] of names.entries()) {
        const part = `${name}/${round} ü ${'x'.repeat((round * i) % 3000)}\n`;
        held.add(name, part);
        given.set(name, given.get(name) + part);
      }
      await turn();
    }
    for (const [name, whole] of given) expect(all(held, name)).toBe(whole);
    expect(held.has('v0')).toBe(false);
    held.add('v0', 'again');
    expect(all(held, 'v0')).toBe('again');
    held.close();
  });

  test('says once that more was left out than is kept, and goes on when there is room', () => {
    const held = new HeldOutput({ folder: process.env.TMPDIR ?? '/tmp', most: 100_000 });
    for (let i = 0; i < 30_000; i++) held.add('v', `${i}\n`);
    const kept = all(held, 'v');
    expect(kept.endsWith(`\n${leftOut}`)).toBe(true);
    expect(kept.split(leftOut)).toHaveLength(2);
    expect(kept.length).toBeGreaterThan(90_000);
    held.add('v', 'more\n');
    expect(all(held, 'v')).toBe('more\n');
    held.close();
  });
});
