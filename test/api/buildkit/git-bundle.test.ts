/** Git bundles: a commit and its history given as one file, and a commit taken out of such a file instead of a remote. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { git, marshal, type State, source } from '../../../src/llb/llb.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { closePool } from '../../../src/workers/pool.ts';
import { answerGit } from '../../kit/git-server.ts';
import { startServer, type TestServer } from '../../kit/http-server.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { onLocal } from '../../kit/stores.ts';
import { ControlKit, failure } from './control-kit.ts';

let dir: string;
let server: TestServer;
let registry: TestRegistry;
let url: string;
let asked = 0;
const at = { first: '', main: '', v1: '', v1Tag: '' };

const run = (cwd: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'safe.directory=*', '-c', 'protocol.file.allow=always', ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: dir, GIT_CONFIG_NOSYSTEM: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
    .toString()
    .trim();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-bundle-'));
  registry = await startRegistry();
  server = await startServer((request, response) => {
    asked++;
    answerGit(request, response, dir);
  });
  url = `http://${server.host}/app`;
  const repo = join(dir, 'app');
  mkdirSync(repo);
  run(repo, 'init', '-q', '-b', 'main');
  run(repo, 'config', 'user.name', 'a');
  run(repo, 'config', 'user.email', 'a@b');
  const commit = (text: string) => {
    writeFileSync(join(repo, 'file'), text);
    run(repo, 'add', 'file');
    run(repo, 'commit', '-qm', text);
    return run(repo, 'rev-parse', 'HEAD');
  };
  at.first = commit('one');
  at.v1 = commit('two');
  run(repo, 'tag', '-a', '-m', 'release', 'v1');
  at.v1Tag = run(repo, 'rev-parse', 'v1');
  at.main = commit('three');
});
afterAll(async () => {
  await server.stop();
  await registry.stop();
  await closePool();
  rmSync(dir, { recursive: true, force: true });
});

onLocal('git bundles', (store) => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
  });
  afterAll(() => kit.daemon.stop());

  const prune = async () => {
    for await (const _ of kit.control.prune({ all: true }));
  };
  /** Solves a state into a folder. */
  const solve = async (state: State, blobs: Buffer[] = []): Promise<string> => {
    const out = join(dir, `out-${crypto.randomUUID()}`);
    await kit.solve(
      { Definition: marshal(state), Exporters: [{ Type: 'local', Attrs: {} }] },
      {
        outputs: { 0: { dir: out } },
        stores: { 'oci:mine': new Map(blobs.map((data) => [digestOf(data), data])) },
      },
    );
    return out;
  };
  const bundleOf = async (ref: string): Promise<Buffer> => {
    const out = await solve(git(url, ref, { checkoutBundle: true }));
    expect(readdirSync(out)).toEqual(['bundle']);
    return readFileSync(join(out, 'bundle'));
  };
  /** The refs of a bundle, and the commits that lead to each, in a repository that knew none of it. */
  const contents = (bundle: Buffer) => {
    const repo = mkdtempSync(join(dir, 'fresh-'));
    writeFileSync(join(repo, 'b'), bundle);
    run(repo, 'init', '-q', '--bare', '.');
    run(repo, 'fetch', '-q', 'b', '+refs/*:refs/*');
    const refs = run(repo, 'for-each-ref', '--format=%(refname) %(objectname)').split('\n');
    return { refs, count: run(repo, 'rev-list', '--all').split('\n').length };
  };
  const taken = (ref: string, checksum: string, data: Buffer, options: Parameters<typeof git>[2] = {}) =>
    git('https://gone.invalid/app', ref, {
      checksum,
      bundle: `oci-layout+blob://any/name@${digestOf(data)}`,
      bundleStore: 'mine',
      ...options,
    });

  test('a bundle has a commit, all that led to it, and the name it was asked for by', async () => {
    expect(contents(await bundleOf('main'))).toEqual({ refs: [`refs/heads/main ${at.main}`], count: 3 });
    expect(contents(await bundleOf(''))).toEqual({ refs: [`refs/heads/main ${at.main}`], count: 3 });
    // A commit that its digits name has no name: it gets a branch's.
    expect(contents(await bundleOf(at.first))).toEqual({ refs: [`refs/heads/main ${at.first}`], count: 1 });
    // An annotated tag comes along, and with it its signature, should it have one.
    expect(contents(await bundleOf('v1'))).toEqual({ refs: [`refs/tags/v1 ${at.v1Tag}`], count: 2 });
  });

  test('a bundle in a layout of the client’s stands for the remote, which is not asked', async () => {
    const data = await bundleOf('main');
    await prune();
    const before = asked;
    for (const ref of ['main', at.main, '']) {
      const out = await solve(taken(ref, at.main, data), [data]);
      expect(readFileSync(join(out, 'file'), 'utf8')).toBe('three');
    }
    // Any commit of its history may be named.
    const first = await solve(taken(at.first, at.first, data), [data]);
    expect(readFileSync(join(first, 'file'), 'utf8')).toBe('one');
    expect(asked).toBe(before);
  });

  test('a bundle in a registry', async () => {
    const data = await bundleOf('v1');
    const digest = digestOf(data);
    const name = `${registry.host}/bundles`;
    await kit.daemon.engine.registry.pushBlob(name, { digest, size: data.length }, async () =>
      Readable.from([data]),
    );
    await prune();
    const bundle = `docker-image+blob://${name}@${digest}`;
    const out = await solve(git('https://gone.invalid/app', 'v1', { checksum: at.v1.slice(0, 12), bundle }));
    expect(readFileSync(join(out, 'file'), 'utf8')).toBe('two');
  });

  test('what is taken from a bundle may keep its repository, or be bundled again', async () => {
    const data = await bundleOf('v1');
    const out = await solve(taken('v1', at.v1Tag, data, { keepGitDir: true }), [data]);
    expect(run(out, 'rev-parse', 'HEAD', 'refs/tags/v1')).toBe(`${at.v1}\n${at.v1Tag}`);
    expect(run(out, 'remote', 'get-url', 'origin')).toBe('https://gone.invalid/app');
    expect(run(out, 'status', '--porcelain')).toBe('');
    const again = await solve(taken('v1', at.v1, data, { checkoutBundle: true }), [data]);
    expect(contents(readFileSync(join(again, 'bundle')))).toEqual(contents(data));
  });

  test('of a repository of SHA-256, on a server of plain files', async () => {
    const repo = join(dir, `plain-${crypto.randomUUID()}`);
    mkdirSync(repo);
    run(repo, 'init', '-q', '-b', 'main', '--object-format=sha256');
    run(repo, 'config', 'user.name', 'a');
    run(repo, 'config', 'user.email', 'a@b');
    writeFileSync(join(repo, 'file'), 'long');
    run(repo, 'add', 'file');
    run(repo, 'commit', '-qm', 'long');
    run(repo, 'update-server-info');
    const sha = run(repo, 'rev-parse', 'HEAD');
    expect(sha).toHaveLength(64);
    const files = await startServer((request, response) => {
      const path = join(repo, new URL(request.url ?? '', 'http://x').pathname);
      if (statSync(path, { throwIfNoEntry: false })?.isFile()) response.end(readFileSync(path));
      else response.writeHead(404).end();
    });
    const made = await solve(git(`http://${files.host}/.git`, 'main', { checkoutBundle: true }));
    await files.stop();
    const data = readFileSync(join(made, 'bundle'));
    await prune();
    const out = await solve(taken('main', sha, data), [data]);
    expect(readFileSync(join(out, 'file'), 'utf8')).toBe('long');
  });

  test('what is wrong with a bundle is said, and nothing of it is kept', async () => {
    const data = await bundleOf(at.first);
    const said = async (state: State, blobs = [data]) => {
      await prune();
      return (await failure(solve(state, blobs))).rawMessage;
    };
    expect(await said(taken(at.main, at.main, data))).toContain(`commit ${at.main} not found in the bundle`);
    expect(await said(taken('v1', at.v1, data))).toContain('repository does not contain ref v1');
    expect(await said(taken('main', at.main, data))).toContain(`expected checksum to match ${at.main}`);
    const junk = Buffer.from('no bundle at all');
    expect(await said(taken(at.main, at.main, junk), [junk])).toContain('git ls-remote');
    expect(await said(taken(at.main, at.main, junk), [])).toContain(digestOf(junk));
    const kept = join(kit.daemon.engine.store.root, 'git');
    await prune();
    expect(existsSync(kept) ? readdirSync(kept) : []).toEqual([]);
  });

  const digest = `sha256:${'a'.repeat(64)}`;
  const sha = 'b'.repeat(40);
  test.each([
    [{ 'git.bundle': 'x', 'git.checksum': sha }, 'names no blob'],
    [{ 'git.bundle': `https://x@${digest}`, 'git.checksum': sha }, 'names no blob'],
    [{ 'git.bundle': 'docker-image+blob://x@sha256:12', 'git.checksum': sha }, 'names no blob'],
    [{ 'git.bundle': `docker-image+blob://x@${digest}` }, 'requires git.checksum'],
    [{ 'git.bundle': `docker-image+blob://x@${digest}`, 'git.checksum': 'abcdef' }, 'all the digits'],
    [{ 'git.checkoutbundle': 'true', 'git.keepgitdir': 'true' }, 'incompatible with git.keepgitdir'],
  ])('refused: %j', async (attrs, message) => {
    const err = await failure(solve(source('git://example.com/x', attrs as Record<string, string>)));
    expect(err.rawMessage).toContain(message);
  });

  test('a bundle cannot put other files in the place of a commit’s', async () => {
    const repo = mkdtempSync(join(dir, 'sly-'));
    run(repo, 'clone', '-q', join(dir, 'app'), '.');
    run(repo, 'config', 'user.name', 'a');
    run(repo, 'config', 'user.email', 'a@b');
    writeFileSync(join(repo, 'file'), 'sly');
    run(repo, 'commit', '-qam', 'sly');
    run(repo, 'replace', '-f', at.main, run(repo, 'rev-parse', 'HEAD'));
    run(repo, 'update-ref', 'refs/heads/main', at.main);
    run(repo, 'bundle', 'create', '-q', 'b', 'refs/heads/main', `refs/replace/${at.main}`);
    const data = readFileSync(join(repo, 'b'));
    await prune();
    const out = await solve(taken('main', at.main, data), [data]);
    expect(readFileSync(join(out, 'file'), 'utf8')).toBe('three');
  });

  test('a folder of a bundle is refused', async () => {
    const err = await failure(solve(git(url, 'main', { checkoutBundle: true, subdir: 'sub' })));
    expect(err.rawMessage).toContain('incompatible with git.subdir');
  });
});
