/** An image with as many names as somebody gives it: lists, look-ups and removals are done in turns. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { marshal, mkfile, scratch } from '../../src/llb/llb.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { solveRaw } from '../kit/raw-grpc.ts';
import { type Asker, longestHold, mostHold, startAsker } from '../kit/thread-time.ts';

let daemon: TestDaemon;
let asker: Asker;
beforeAll(async () => {
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
  asker = startAsker(daemon.socket);
  const image = marshal(scratch().file(mkfile('/a', 'a')));
  for (let build = 0; build < 25; build++) {
    const name = Array.from({ length: 1000 }, (_, i) => `n${build}-${i}`).join();
    const said = await solveRaw(daemon.socket, {
      Definition: image,
      Exporters: [{ Type: 'image', Attrs: { name } }],
    });
    expect(said).toBe('0 ');
  }
});
afterAll(async () => {
  await asker.stop();
  await daemon.stop();
});

test.each([
  ['GET', '/images/json', 200],
  ['GET', '/images/n5-5/json', 200],
  ['POST', '/images/n5-5/tag?repo=another', 201],
  ['POST', '/images/n5-7/push', 200],
  ['DELETE', '/images/n5-6', 200],
  ['POST', `/images/prune?filters=${encodeURIComponent('{"dangling":["false"]}')}`, 200],
])('%s %s', async (method, path, status) => {
  const hold = await longestHold(async () => {
    expect(await asker.ask({ method, path })).toMatchObject({ status });
  });
  expect(hold).toBeLessThan(mostHold);
});
