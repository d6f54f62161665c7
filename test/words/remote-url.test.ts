/** A context, a named context or a Dockerfile that lies elsewhere is told from a folder alike by all who take one. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { recordFilter } from '../../src/api/buildkit/history/filter.ts';
import { chooseContext, namedContexts } from '../../src/cli/build/context.ts';
import { dockerfileRequest } from '../../src/frontend/dockerfile/request-options.ts';
import type { BuildHistoryRecord } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { hostOfAddress, isRemoteUrl } from '../../src/words/remote-url.ts';

const elsewhere = [
  'https://example.com/app.tar.gz',
  'http://example.com/app.git#v1:sub',
  'HTTPS://example.com/app.git',
  'git://example.com/app',
  'ssh://git@example.com/app',
  'git@example.com:team/app',
  'ci-bot@git.example.com:app.git#main',
  'github.com/team/app',
];
const here = [
  '.',
  'app',
  'app.git',
  './github.com/team/app',
  '/srv/git@x',
  'a@b/c:d',
  'https:app',
  'ftp://h/x',
  'c:x',
];

let dir: string;
let before: string;
beforeEach(() => {
  before = process.cwd();
  dir = mkdtempSync(join(tmpdir(), 'drydock-urls-'));
  process.chdir(dir);
});
afterEach(() => {
  process.chdir(before);
  rmSync(dir, { recursive: true });
});

const contextOf = (text: string) => chooseContext(text, undefined, new PassThrough()).context.type;

test('what lies elsewhere', () => {
  for (const text of elsewhere) {
    expect(isRemoteUrl(text), text).toBe(true);
    expect(contextOf(text), text).toBe('remote');
    expect(namedContexts([`a=${text}`]).contexts, text).toEqual({ a: text });
    expect(dockerfileRequest({ options: { context: text }, inputs: {} }).context, text).toEqual({
      type: 'remote',
      url: text,
    });
  }
});

test('what is a path', () => {
  for (const text of here) {
    expect(isRemoteUrl(text), text).toBe(false);
    if (text !== '.') expect(() => contextOf(text), text).toThrow('not found');
    // A frontend's client has sent a folder; what is no URL does not say where from.
    expect(dockerfileRequest({ options: { context: text }, inputs: {} }).context).toEqual({
      type: 'local',
      name: 'context',
    });
  }
});

test('a folder that is there is meant, whatever its name looks like', () => {
  mkdirSync('github.com/team/app', { recursive: true });
  mkdirSync('me@host:x');
  expect(['github.com/team/app', 'me@host:x', 'github.com/team/other'].map(contextOf)).toEqual([
    'local',
    'local',
    'remote',
  ]);
});

test('build records are of the repository that their context names', () => {
  const found = (context: string) =>
    recordFilter(['repository~=.'])({
      Ref: 'r',
      Frontend: 'dockerfile.v0',
      FrontendAttrs: { context },
      pinned: false,
    } as unknown as BuildHistoryRecord);
  const of = (context: string, repository: string) =>
    recordFilter([`repository==${repository}`])({
      Ref: 'r',
      Frontend: '',
      FrontendAttrs: { context },
      pinned: false,
    } as unknown as BuildHistoryRecord);
  expect(of('ssh://git@example.com/app#v1', 'ssh://git@example.com/app')).toBe(true);
  expect(of('git@example.com:app?ref=x', 'git@example.com:app')).toBe(true);
  expect(['app', 'local', ''].map(found)).toEqual([false, false, false]);
});

test('the host of a registry’s address', () => {
  const addresses = ['https://index.docker.io/v1/', 'http://h:5000', 'h:5000/team', 'h'];
  expect(addresses.map(hostOfAddress)).toEqual(['index.docker.io', 'h:5000', 'h:5000', 'h']);
});
