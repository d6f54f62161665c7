/** Solve with lists that nobody would write: what is asked of `dockerfile.v0`, in definitions and in policies. */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { image, marshal, mkfile, type State, scratch } from '../../src/llb/llb.ts';
import { SolveRequestSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { rawCall } from '../kit/raw-grpc.ts';
import { mostHold, usualHold } from '../kit/thread-time.ts';

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startTestDaemon({ grpc: (host) => buildkitApi(host, {}) });
});
afterAll(() => daemon.stop());

type Request = MessageInitShape<typeof SolveRequestSchema>;

const many = <T>(count: number, item: (i: number) => T) => Array.from({ length: count }, (_, i) => item(i));
const named = (count: number, pair: (i: number) => [string, string]) => Object.fromEntries(many(count, pair));
const lines = (count: number, line: (i: number) => string) => many(count, line).join('');

/** Solves it as often as it takes, each time as a build of its own; gives the hold and what the last one ended with. */
async function solve(request: Request): Promise<{ hold: number; said: string }> {
  const messages = many(4, (i) =>
    toBinary(SolveRequestSchema, create(SolveRequestSchema, { ...request, Ref: `${Math.random()} ${i}` })),
  );
  let said = '';
  const hold = await usualHold(async (attempt) => {
    said = await rawCall(daemon.socket, 'Control/Solve', messages[attempt] as Uint8Array);
  }, messages.length);
  return { hold, said };
}

function dockerfile(text: string, options: Record<string, string> = {}): Request {
  const files = marshal(scratch().file(mkfile('/Dockerfile', text)));
  return {
    Frontend: 'dockerfile.v0',
    FrontendAttrs: options,
    FrontendInputs: { context: files, dockerfile: files },
  };
}

const plain = 'FROM scratch\nLABEL a=b\n';
const stages = lines(1000, (i) => `FROM scratch AS s${i}\n`);
const chain = `FROM scratch AS s0\n${lines(10_000, (i) => `FROM s${i} AS s${i + 1}\nARG a${i}=1\n`)}`;

test.each<[string, () => Request]>([
  [
    '10,000 build args',
    () =>
      dockerfile(
        plain,
        named(10_000, (i) => [`build-arg:x${i}`, 'y']),
      ),
  ],
  [
    '10,000 labels',
    () =>
      dockerfile(
        plain,
        named(10_000, (i) => [`label:x${i}`, 'y']),
      ),
  ],
  [
    '10,000 contexts and 1,000 stages',
    () =>
      dockerfile(
        stages,
        named(10_000, (i) => [`context:x${i}`, 'docker-image://a']),
      ),
  ],
  [
    '200,000 stages without cache',
    () => dockerfile(stages, { 'no-cache': many(200_000, (i) => `b${i}`).join() }),
  ],
  [
    'a question about 10,000 stages on each other',
    () => dockerfile(chain, { requestid: 'frontend.outline' }),
  ],
  ['the targets of 10,000 stages', () => dockerfile(chain, { requestid: 'frontend.targets' })],
  [
    'checks that are skipped',
    () =>
      dockerfile(
        `# check=skip=${many(5000, (i) => `A${i}`).join()}\n${plain}${lines(2000, () => 'env a b\n')}`,
      ),
  ],
])('of %s is well', async (_, make) => {
  const { hold, said } = await solve(make());
  expect(said).toBe('0 ');
  expect(hold).toBeLessThan(mostHold);
});

const base = image('127.0.0.1:1/a');
const steps = (count: number): State => {
  let state: State = base;
  for (let i = 0; i < count; i++) state = state.run(`true ${i}`).root();
  return state;
};
const double = `FROM scratch\nENV a=0123456789\n${lines(16, () => 'ENV a=$a$a\n')}`;

test.each<[string, () => Request, RegExp]>([
  [
    '20,000 mounts',
    () => ({
      Definition: marshal(
        base.run('true', { mounts: many(20_000, (i) => ({ type: 'tmpfs', target: `/${i}` })) }).root(),
      ),
    }),
    /an op has more than 8000 mounts/,
  ],
  [
    'mounts of a RUN',
    () => dockerfile(`FROM scratch\nRUN ${lines(1050, () => '--mount=type=ssh \\\n')} true\n`),
    /RUN has 1050 mounts, more than 1000/,
  ],
  [
    'hosts',
    () => dockerfile('FROM scratch\nRUN true\n', { 'add-hosts': many(5000, (i) => `h${i}=1.2.3.4`).join() }),
    /a step has 5000 hosts, more than 1000/,
  ],
  [
    '50,000 sources of a COPY',
    () => dockerfile(`FROM scratch\nCOPY ${lines(50_000, (i) => `a${i} \\\n`)} /x/\n`),
    /COPY has 50000 actions, more than 5000/,
  ],
  [
    '20,000 steps on each other',
    () => ({ Definition: marshal(steps(20_000)) }),
    /more than 500 steps on top of each other/,
  ],
  [
    'variables × steps',
    () => dockerfile(`${double}${lines(1500, (i) => `RUN ${i}\n`)}`),
    /more than 64 MiB of variables/,
  ],
  [
    'rules',
    () => ({
      Definition: marshal(base),
      SourcePolicy: { rules: many(9000, () => ({ selector: { identifier: '*b' } })) },
    }),
    /more than 2000 rules/,
  ],
])('of too many %s is refused', async (_, make, why) => {
  const { hold, said } = await solve(make());
  expect(said).toMatch(why);
  expect(hold).toBeLessThan(mostHold);
});

test('with as many rules as there may be is held against them', async () => {
  const rules = [
    ...many(1999, () => ({ selector: { identifier: '*b' } })),
    { action: 1, selector: { identifier: '*a*' } },
  ];
  const { hold, said } = await solve({ Definition: marshal(base), SourcePolicy: { rules } });
  expect(said).toContain('denied by policy');
  expect(hold).toBeLessThan(mostHold);
});
