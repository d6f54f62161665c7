/** A source is the same all through one build, whatever becomes of it meanwhile; and policies are held against lookups. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { tagImage } from '../../../src/images/tag.ts';
import { copy, git, http, image, local, marshal, mkfile, type State, scratch } from '../../../src/llb/llb.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { PolicyAction, PolicySchema } from '../../../src/pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import { buildState } from '../../../src/sdk/build.ts';
import type { Peer } from '../../../src/session/peer.ts';
import { checkPolicy } from '../../../src/session/services/policy.ts';
import { prune } from '../../../src/upkeep/disk-usage.ts';
import { closePool } from '../../../src/workers/pool.ts';
import { answerGit } from '../../kit/git-server.ts';
import { startServer, type TestServer } from '../../kit/http-server.ts';
import { imageOf, putImage, tarOf } from '../../kit/images.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { onStores } from '../../kit/stores.ts';
import { failure } from './control-kit.ts';
import { type GatewayBuild, GatewayKit } from './gateway-kit.ts';

const { ALLOW, DENY, CONVERT } = PolicyAction;

onStores('sources within one build', (store) => {
  const kit = new GatewayKit();
  let server: TestServer;
  let registry: TestRegistry;
  let text = 'first';
  let tagged = '';
  const repos = join(kit.dir, 'repos');
  const builds: GatewayBuild[] = [];

  beforeAll(async () => {
    await kit.open(store.options());
    registry = await startRegistry();
    server = await startServer((request, response) => {
      if (request.url?.startsWith('/repo')) return answerGit(request, response, repos);
      response.setHeader('etag', tagged || `"${text}"`);
      response.end(text);
    });
  });
  afterEach(async () => {
    for (const build of builds.splice(0)) await build.end();
  });
  afterAll(async () => {
    await kit.close();
    await server.stop();
    await registry.stop();
    await closePool();
  });

  const start = async (...setup: Parameters<GatewayKit['build']>) => {
    const build = await kit.build(...setup);
    builds.push(build);
    return build;
  };
  /** Solves a state in a build; gives the text of a file of it. */
  const read = async ({ client }: GatewayBuild, state: State, path: string) => {
    const { result } = await client.solve({
      Definition: marshal(state),
      allowResultReturn: true,
      allowResultArrayRef: true,
    });
    const Ref = result?.result.case === 'ref' ? result.result.value.id : '';
    return Buffer.from((await client.readFile({ Ref, FilePath: path })).Data).toString();
  };

  test.each([
    ['with a new ETag', ''],
    ['with the same ETag', '"same"'],
  ])('a file of a server that changes, %s, is what the client was told', async (_, etag) => {
    const url = `http://${server.host}/${etag === '' ? 'new' : 'same'}`;
    [text, tagged] = ['first', etag];
    const build = await start();
    const meta = async (of: GatewayBuild) =>
      (await of.client.resolveSourceMeta({ Source: { identifier: url } })).HTTP?.Checksum;
    expect(await meta(build)).toBe(digestOf('first'));
    text = 'second';
    await prune(kit.engine, { all: true });
    expect(await meta(build)).toBe(digestOf('first'));
    expect(await read(build, http(url, { filename: 'f' }), '/f')).toBe('first');
    // Under another name, too.
    expect(await read(build, http(url, { filename: 'g' }), '/g')).toBe('first');
    // The next build asks anew.
    const next = await start();
    if (etag === '') expect(await read(next, http(url, { filename: 'f' }), '/f')).toBe('second');
  });

  test('a branch that moves is at the commit that the client was told', async () => {
    const repo = join(repos, 'repo');
    const run = (...args: string[]) =>
      execFileSync('git', ['-C', repo, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
        encoding: 'utf8',
      }).trim();
    const commit = (what: string) => {
      writeFileSync(join(repo, 'file'), what);
      run('add', 'file');
      run('commit', '-qm', what);
      run('tag', '-f', 'v1');
      return run('rev-parse', 'HEAD');
    };
    mkdirSync(repo, { recursive: true });
    execFileSync('git', ['init', '-q', '-b', 'main', repo]);
    const first = commit('first');
    const url = `http://${server.host}/repo`;
    const Source = { identifier: `git://${server.host}/repo#v1`, attrs: { 'git.fullurl': url } };
    const build = await start();
    const meta = async (of: GatewayBuild) => (await of.client.resolveSourceMeta({ Source })).Git?.Checksum;
    expect(await meta(build)).toBe(first);
    const second = commit('second');
    expect(await meta(build)).toBe(first);
    expect(await read(build, git(url, 'v1'), '/file')).toBe('first');
    const next = await start();
    expect(await read(next, git(url, 'v1'), '/file')).toBe('second');
    expect(await meta(next)).toBe(second);
  });

  test('the objects of a git ref, byte for byte, where a client asks for them', async () => {
    const repo = join(repos, 'repo-objects');
    const run = (...args: string[]) =>
      execFileSync('git', ['-C', repo, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args]);
    mkdirSync(repo, { recursive: true });
    execFileSync('git', ['init', '-q', '-b', 'main', repo]);
    run('config', 'uploadpack.allowAnySHA1InWant', 'true');
    run('-c', 'i18n.commitEncoding=latin1', 'commit', '-q', '--allow-empty', '-m', 'first');
    run('tag', '-a', '-m', 'a release', 'v1');
    const [tag, commit] = ['v1', 'main'].map((name) => run('rev-parse', name).toString().trim());
    const { client } = await start();
    const meta = async (ref: string, ReturnObject: boolean) => {
      const Source = {
        identifier: `git://${server.host}/repo-objects#${ref}`,
        attrs: { 'git.fullurl': `http://${server.host}/repo-objects` },
      };
      return (await client.resolveSourceMeta({ Source, Git: { ReturnObject } })).Git!;
    };
    const none = new Uint8Array();
    expect(await meta('v1', false)).toMatchObject({ Checksum: tag, CommitObject: none, TagObject: none });
    const commitObject = new Uint8Array(run('cat-file', 'commit', commit!));
    const tagObject = new Uint8Array(run('cat-file', 'tag', tag!));
    const both = { CommitChecksum: commit, CommitObject: commitObject, TagObject: tagObject };
    // First the branch, with which the commit is there and the tag is not.
    expect(await meta('main', true)).toMatchObject({
      Checksum: commit,
      CommitChecksum: '',
      CommitObject: commitObject,
      TagObject: none,
    });
    expect(await meta('v1', true)).toMatchObject({ Checksum: tag, Ref: 'refs/tags/v1', ...both });
    expect(await meta(tag!, true)).toMatchObject({ Checksum: tag, ...both });
  });

  test('an image whose tag moves is the one that the client was told of: in a registry, and in the store', async () => {
    const remote = `${registry.host}/moving:1`;
    const here = 'docker.io/library/moving:1';
    const make = async (what: string) => {
      await putImage(registry.host, 'moving:1', imageOf([tarOf({ which: `${what} there` })]));
      const made = scratch().file(mkfile('/which', `${what} here`));
      await buildState(made, { engine: kit.engine, tags: [what], credentials: async () => undefined });
      await tagImage(kit.engine.store, what, here);
    };
    await make('first');
    const build = await start();
    const told = async (of: GatewayBuild) =>
      Promise.all([remote, here].map(async (Ref) => (await of.client.resolveImageConfig({ Ref })).Digest));
    const before = await told(build);
    await make('second');
    expect(await told(build)).toEqual(before);
    expect(await read(build, image(remote), '/which')).toBe('first there');
    expect(await read(build, image(here), '/which')).toBe('first here');
    const next = await start();
    expect(await read(next, image(remote), '/which')).toBe('second there');
    expect(await read(next, image(here), '/which')).toBe('second here');
    expect(await told(next)).not.toEqual(before);
  });

  test('a folder of a running build is there for another one that is handed a graph with it, until it is over', async () => {
    const folder = join(kit.dir, 'shared');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'f'), 'of the first');
    const state = scratch().file(copy(local('context'), '/f', '/f'));
    const first = await start({ locals: { context: folder } });
    expect(await read(first, state, '/f')).toBe('of the first');
    const second = await start();
    expect(await read(second, state.file(mkfile('/g', 'g')), '/f')).toBe('of the first');
    const third = await start();
    await first.end();
    builds.splice(builds.indexOf(first), 1);
    await second.end();
    builds.splice(builds.indexOf(second), 1);
    const err = await failure(read(third, state, '/f'));
    expect(err.rawMessage).toContain('the client offers no folder named "context"');
  });

  test('policies of a lookup are held against it: the name that comes of them, without a digest', async () => {
    await putImage(registry.host, 'policy:latest', imageOf([tarOf({ f: 'x' })]));
    const latest = `${registry.host}/policy:latest`;
    const old = `${registry.host}/policy:1.34`;
    const rule = (action: PolicyAction, identifier: string, to?: string) => ({
      action,
      selector: { identifier },
      ...(to === undefined ? {} : { updates: { identifier: to, attrs: { foo: 'bar' } } }),
    });
    const rules = [
      rule(DENY, '*'),
      rule(ALLOW, `docker-image://${latest}*`),
      rule(CONVERT, `docker-image://${old}`, `docker-image://${latest}`),
    ];
    const SourcePolicies = [create(PolicySchema, { version: 1n, rules })];
    const { client } = await start();
    const found = await client.resolveImageConfig({ Ref: old, SourcePolicies });
    expect(found.Ref).toBe(latest);
    expect(found.Digest).toMatch(/^sha256:/);
    const imageMeta = await client.resolveSourceMeta({
      Source: { identifier: `docker-image://${old}` },
      SourcePolicies,
    });
    expect(imageMeta.Source?.identifier).toBe(`docker-image://${latest}`);
    expect(imageMeta.Image?.Digest).toBe(found.Digest);
    // What is no image any more has no config: clients go on with what the source has become.
    rules.push(rule(ALLOW, 'local://test'), rule(CONVERT, `docker-image://${latest}`, 'local://test'));
    const local = [create(PolicySchema, { version: 1n, rules })];
    const turned = await client.resolveSourceMeta({
      Source: { identifier: `docker-image://${latest}` },
      SourcePolicies: local,
    });
    expect(turned.Source?.identifier).toBe('local://test');
    expect(turned.Image).toBeUndefined();
    const other = client.resolveImageConfig({ Ref: `${registry.host}/other:1`, SourcePolicies });
    expect((await failure(other)).rawMessage).toContain('denied by policy');
    const meta = client.resolveSourceMeta({
      Source: { identifier: `http://${server.host}/x` },
      SourcePolicies,
    });
    expect((await failure(meta)).rawMessage).toContain('denied by policy');
    // What a rule says besides, in words that are no source's, means nothing.
    const solved = await client.solve({ Definition: marshal(image(old)), SourcePolicies, Evaluate: true });
    expect(solved).toBeDefined();
  });
});

test('a folder of a git repository is one, however it is written, to policies', async () => {
  const { sourceRewrite } = await import('../../../src/llb/source-policy.ts');
  const canonical = 'git://github.com/user/repo.git#main:absolute/path';
  const deny = create(PolicySchema, {
    rules: [{ action: DENY, selector: { identifier: canonical, matchType: 1 } }],
  });
  const judged = (identifier: string) => () => sourceRewrite([deny])!({ identifier, attrs: {} } as never);
  for (const folder of ['absolute/path', '../absolute/path', '/absolute//path/', './absolute/x/../path']) {
    expect(judged(`git://github.com/user/repo.git#main:${folder}`)).toThrow('source denied by policy');
  }
  const other = { identifier: 'git://github.com/user/repo.git#main:/other', attrs: {} } as never;
  expect(sourceRewrite([deny])!(other)).toBe(other);
});

test('a policy of the client’s that never answers ends with an error that says so', async () => {
  const never = {
    unary: (_: string, __: string, ___: Uint8Array, { signal }: { signal: AbortSignal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    explain: (_: string, err: unknown) => err,
  } as unknown as Peer;
  const asked = checkPolicy(never, { Source: { Source: { identifier: 'docker-image://x' } } }, 20);
  await expect(asked).rejects.toMatchObject({
    code: 'unavailable',
    hop: 'session',
    message: expect.stringContaining('its policy on docker-image://x: no answer'),
    hint: expect.stringContaining('policy'),
  });
});
