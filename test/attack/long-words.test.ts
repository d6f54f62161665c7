/** Words of a client that become arguments or variables of programs, and are longer than the kernel lets them be. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { git, marshal } from '../../src/llb/llb.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { solveRaw } from '../kit/raw-grpc.ts';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
});
afterAll(() => daemon.stop());

const long = 'x'.repeat(400_000);
const said = 'an argument or a variable is longer than the kernel lets programs be given';

test.each([
  ['remote', git(`https://localhost:1/${long}.git`, 'main')],
  ['ref', git('https://localhost:1/a.git', long)],
])("a git source's %s", async (_, source) => {
  const answer = await solveRaw(daemon.socket, { Definition: marshal(source) });
  expect(answer).toContain(said);
  expect(answer).toContain('at most 128 KiB');
});

test("a context's remote", async () => {
  const { text } = await daemon.ask('POST', `/build?remote=https://localhost:1/${long}.git`);
  expect(text).toContain(said);
  expect(text).not.toContain('E2BIG');
});
