/** Questions about a Dockerfile: what `docker buildx build --call=outline|targets|check` asks and reads. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type GatewayBuild, GatewayKit } from './gateway-kit.ts';

const dockerfile = `# check=skip=WorkdirRelativePath
ARG BASE=scratch
ARG UNUSED=1
# VERSION of what is built
ARG VERSION=1.2
# base is what all share
FROM \${BASE} AS base
ARG VERSION

# tools are for the build alone
FROM base AS tools
ARG DEBUG=no-\${VERSION}
RUN --mount=type=secret,id=token-\${DEBUG},required=true --mount=type=ssh true

FROM scratch AS other
ARG ELSEWHERE

# app is the result
from base AS app
WORKDIR sub
COPY --from=tools /x /y
`;

const again = `
ARG FOO=123
ARG ABC=abc
ARG DEF=def
ARG FOO=\${FOO}\${ABC}
ARG BAR=\${FOO}456
ARG FOO=\${FOO}456\${BAR}
FROM scratch
ARG FOO
ARG INFOO=123
ARG INBAR=\${INFOO}456
ARG INFOO=\${INFOO}456\${INBAR}
`;

const kit = new GatewayKit();
let build: GatewayBuild;
beforeAll(async () => {
  await kit.open();
  const context = join(kit.dir, 'context');
  mkdirSync(context);
  writeFileSync(join(context, 'Dockerfile'), dockerfile);
  writeFileSync(join(context, 'broken'), 'FROM scratch\nRUNN x\n');
  writeFileSync(join(context, 'strict'), '# check=error=true\nFROM scratch as base\n');
  writeFileSync(join(context, 'again'), again);
  build = await kit.build({ locals: { context, dockerfile: context } });
});
afterAll(async () => {
  await build.end();
  await kit.close();
});

async function ask(requestid: string, options: Record<string, string> = {}) {
  const { result } = await build.client.solve({
    Frontend: 'dockerfile.v0',
    FrontendOpt: { requestid, 'frontend.caps': 'moby.buildkit.frontend.subrequests+forward', ...options },
    allowResultReturn: true,
    allowResultArrayRef: true,
  });
  const text = (name: string) => Buffer.from(result?.metadata[name] ?? []).toString();
  return { text, json: text('result.json') === '' ? undefined : JSON.parse(text('result.json')) };
}

test('describe lists what there is to ask', async () => {
  const { json, text } = await ask('frontend.subrequests.describe');
  expect(json.map(({ name }: { name: string }) => name)).toEqual([
    'frontend.outline',
    'frontend.targets',
    'frontend.lint',
    'frontend.convertllb',
    'frontend.subrequests.describe',
  ]);
  expect(json[0]).toMatchObject({ version: '1.0.0', type: 'rpc', opts: [{ name: 'target' }] });
  expect(text('result.txt')).toMatch(/^NAME +VERSION DESCRIPTION\noutline +1\.0\.0 +List all parameters/);
  expect(text('version')).toBe('1.0.0');
});

test('targets: the stages, their bases and what is said of them', async () => {
  const { json, text } = await ask('frontend.targets');
  expect(json.targets).toMatchObject([
    { name: 'base', base: `$${'{BASE}'}`, description: 'is what all share' },
    { name: 'tools', base: 'base', description: 'are for the build alone' },
    { name: 'other', base: 'scratch' },
    { name: 'app', default: true, location: { ranges: [{ start: { line: 19 } }] } },
  ]);
  expect(Buffer.from(json.sources[0], 'base64').toString()).toBe(dockerfile);
  expect(text('result.txt')).toMatch(
    /^TARGET +DESCRIPTION\nbase +is what all share\n[\s\S]*app \(default\) is the result\n$/,
  );
});

test('outline: args, secrets and agents that the target and what it needs can be given', async () => {
  const { json, text } = await ask('frontend.outline', { 'build-arg:VERSION': '2.0' });
  expect(json).toMatchObject({
    name: 'app',
    description: 'is the result',
    args: [
      { name: 'BASE', value: 'scratch' },
      { name: 'VERSION', value: '2.0', description: 'of what is built' },
      { name: 'DEBUG', value: 'no-2.0' },
    ],
    secrets: [{ name: 'token-no-2.0', required: true }],
    ssh: [{ name: 'default' }],
  });
  expect(json.args).toHaveLength(3);
  expect(text('result.txt')).toMatch(/TARGET: +app\n/);
  expect(text('result.txt')).toMatch(/SECRET +REQUIRED\ntoken-no-2\.0 +true\n/);
  const other = await ask('frontend.outline', { target: 'other' });
  expect(other.json.args).toMatchObject([{ name: 'ELSEWHERE' }]);
  await expect(ask('frontend.outline', { target: 'none' })).rejects.toMatchObject({ code: Code.NotFound });
});

test('outline: an ARG that is given again is what it was last, and all that it was made of is there', async () => {
  const { json } = await ask('frontend.outline', { filename: 'again' });
  expect(json.args.map(({ name, value }: { name: string; value: string }) => [name, value])).toEqual([
    ['ABC', 'abc'],
    ['BAR', '123abc456'],
    ['FOO', '123abc456123abc456'],
    ['INBAR', '123456'],
    ['INFOO', '123456123456'],
  ]);
});

test('lint: the findings with their places, as text and as a status', async () => {
  const { json, text } = await ask('frontend.lint');
  expect(json.warnings).toMatchObject([
    { ruleName: 'FromAsCasing' },
    {
      ruleName: 'ConsistentInstructionCasing',
      url: expect.stringMatching(/^https:/),
      detail: expect.stringContaining('from'),
      location: { ranges: [{ start: { line: 19 }, end: { line: 19 } }] },
    },
  ]);
  expect(json.sources).toMatchObject([{ filename: 'Dockerfile', language: 'Dockerfile' }]);
  expect(text('result.statuscode')).toBe('1');
  expect(text('result.txt')).toMatch(/\nWARNING: ConsistentInstructionCasing - https:\S+\n/);
  expect(text('result.txt')).toMatch(
    /Dockerfile:19\n-{20}\n +17 \| {5}\n[\s\S]* 19 \| >>> from base AS app\n/,
  );
});

test('lint: what keeps the Dockerfile from being built is told, too', async () => {
  const { json, text } = await ask('frontend.lint', { filename: 'broken' });
  expect(json.buildError.message).toMatch(/unknown instruction: RUNN/);
  expect(json.buildError.location.ranges[0].start.line).toBe(2);
  expect(text('result.statuscode')).toBe('1');
});

test('lint: with `# check=error=true` the findings are the error', async () => {
  const { json } = await ask('frontend.lint', { filename: 'strict' });
  expect(json.warnings).toMatchObject([{ ruleName: 'FromAsCasing' }]);
  expect(json.buildError).toMatchObject({
    message: 'lint violation found for rules: FromAsCasing',
    location: { ranges: [{ start: { line: 2 } }] },
  });
});

test('convertllb: the definition as JSON', async () => {
  const { json } = await ask('frontend.convertllb');
  const ops = Object.values(json.def) as { file?: object; exec?: object }[];
  expect(ops.some(({ file }) => file !== undefined)).toBe(true);
  expect(ops.some(({ exec }) => exec !== undefined)).toBe(true);
  expect(Object.keys(json.metadata)).toEqual(expect.arrayContaining(Object.keys(json.def)));
});

test('others are refused with the code that clients take for "not there"', async () => {
  const err = await ask('frontend.prophecy').catch((reason: unknown) => reason);
  expect(err).toBeInstanceOf(ConnectError);
  expect(err).toMatchObject({
    code: Code.Unimplemented,
    rawMessage: expect.stringContaining('unsupported request frontend.prophecy'),
  });
});
