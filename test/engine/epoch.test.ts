/** SOURCE_DATE_EPOCH by the name of what has a time: the context, a named context, a stage. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findImage } from '../../src/distribution/stored.ts';
import { inspectImage } from '../../src/images/inspect.ts';
import type { DockerfileOptions } from '../../src/sdk/build.ts';
import { Builds } from '../kit/builds.ts';
import { answerGit } from '../kit/git-server.ts';
import { startServer, type TestServer } from '../kit/http-server.ts';

const builds = new Builds();
let server: TestServer;
const committed = 1_700_000_101;
const modified = 1_700_000_201;
const newest = 1_700_000_302;

beforeAll(async () => {
  await builds.open();
  const files = join(builds.dir, 'files');
  mkdirSync(files);
  const repo = join(files, 'app.git');
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', repo, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
      env: { ...process.env, GIT_COMMITTER_DATE: `${committed} +0000`, GIT_AUTHOR_DATE: '1600000000 +0000' },
    });
  mkdirSync(repo);
  git('init', '-q', '-b', 'main');
  writeFileSync(join(repo, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /\n');
  git('add', '.');
  git('commit', '-q', '-m', 'one');
  const context = join(builds.dir, 'archived');
  mkdirSync(context);
  const dockerfile = 'FROM base\nARG SOURCE_DATE_EPOCH\nRUN echo "$SOURCE_DATE_EPOCH" >/epoch\n';
  writeFileSync(join(context, 'Dockerfile'), dockerfile);
  execFileSync('tar', ['-C', context, `--mtime=@${newest}`, '-czf', join(files, 'context.tgz'), '.']);
  server = await startServer((request, response) => {
    const [, where, name = ''] = (request.url ?? '').split('/');
    if (where === 'git') {
      answerGit(request, response, files, (request.url ?? '').slice('/git'.length).split('?', 1)[0]);
      return;
    }
    if (where === 'dated') response.setHeader('last-modified', new Date(modified * 1000).toUTCString());
    if (name === 'docker') return void response.end('FROM scratch\nCOPY f /\n');
    response.end(name === 'text' ? 'no archive' : readFileSync(join(files, 'context.tgz')));
  });
});
afterAll(async () => {
  await server.stop();
  await builds.close();
});

const url = (path: string) => `http://${server.host}/${path}`;

/** When the image says that it was made, s since 1970; undefined when it is about now. */
async function created(dockerfile: string | undefined, options: Partial<DockerfileOptions>) {
  const { engine } = builds;
  const context = options.context ?? builds.context({ f: 'x' });
  await builds.build(dockerfile ?? 'FROM scratch', {}, { ...options, context, dockerfileText: dockerfile });
  const { Created } = await inspectImage(engine.store, 'test');
  const seconds = Date.parse(Created ?? '') / 1000;
  return Date.now() / 1000 - seconds < 3600 ? undefined : seconds;
}
const byContext = { buildArgs: { SOURCE_DATE_EPOCH: 'context' } };

describe('the context', () => {
  test('a git repository: its commit', async () => {
    expect(await created(undefined, { ...byContext, context: url('git/app.git') })).toBe(committed);
  });

  test('a file of a web server: what that says, else the newest file of the archive', async () => {
    expect(await created(undefined, { ...byContext, context: url('dated/context.tgz') })).toBe(modified);
    expect(await created(undefined, { ...byContext, context: url('plain/context.tgz') })).toBe(newest);
    expect((await builds.look('test')).read('/epoch')).toBe(`${newest}\n`);
  });

  test('a folder of the client has no time', async () => {
    expect(await created('FROM scratch\nCOPY f /\n', byContext)).toBeUndefined();
    const text =
      'ARG SOURCE_DATE_EPOCH=context\nFROM base\nARG SOURCE_DATE_EPOCH\nRUN echo "[$SOURCE_DATE_EPOCH]" >/f\n';
    await created(text, {});
    expect((await builds.look('test')).read('/f')).toBe('[]\n');
  });
});

test('the history of a base that is newer stays as it is', async () => {
  const historyOf = async (name: string) =>
    (await findImage(builds.engine.store, name)).image.config.history?.map((entry) => entry.created) ?? [];
  const buildArgs = { SOURCE_DATE_EPOCH: '1000' };
  await builds.build('FROM base AS a\nLABEL a=b\nFROM a\nCOPY f /g\n', { f: '' }, { buildArgs });
  const own = '1970-01-01T00:16:40Z';
  expect(await historyOf('test')).toEqual([...(await historyOf('base')), own, own]);
});

describe('a named context', () => {
  const text = 'ARG SOURCE_DATE_EPOCH=src\nFROM scratch\nCOPY f /\n';
  test.each([
    ['a git repository', 'git/app.git', committed],
    ['a dated file', 'dated/context.tgz', modified],
    ['an archive', 'plain/context.tgz', newest],
    ['a file that says nothing of its time', 'plain/text', undefined],
  ])('%s', async (_, path, time) => {
    expect(await created(text, { namedContexts: { src: url(path) } })).toBe(time);
  });
});

describe('a stage', () => {
  const stage = (add: string) =>
    `ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\n${add}\nFROM scratch\nCOPY f /\n`;

  test('that adds one thing to scratch: its time, unless the build has one', async () => {
    expect(await created(stage(`ARG U=${url('plain')}\nADD $U/context.tgz /`), {})).toBe(newest);
    expect(await created(stage(`ADD ${url('git/app.git')} /`), {})).toBe(committed);
    const buildArgs = { SOURCE_DATE_EPOCH: '1700000502' };
    expect(await created(stage(`ADD ${url('plain/context.tgz')} /`), { buildArgs })).toBe(1_700_000_502);
  });

  test.each([
    ['COPY f /', 'stage does not meet source-only requirements: unsupported COPY instruction'],
    ['ADD f /', 'stage source must be a single HTTP(S) or Git ADD'],
    ['ADD http://h/a http://h/b /', 'stage must contain exactly one remote ADD source'],
    ['', 'stage must contain exactly one remote ADD'],
  ])('that does more is refused: %j', async (add, message) => {
    await expect(created(stage(add), {})).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining(`SOURCE_DATE_EPOCH ${message}`),
      source: { ranges: [{ start: { line: 2 } }] },
    });
  });
});

test('a Dockerfile from a web server has the context that it is given', async () => {
  await builds.build(
    '',
    {},
    { dockerfileText: undefined, dockerfile: url('of/docker'), context: builds.context({ f: 'mine' }) },
  );
  expect((await builds.look('test')).read('/f')).toBe('mine');
});

test('another word is said to be none', async () => {
  await expect(
    created('FROM scratch\nCOPY f /\n', { buildArgs: { SOURCE_DATE_EPOCH: 'now' } }),
  ).rejects.toThrow('invalid SOURCE_DATE_EPOCH: now');
});
