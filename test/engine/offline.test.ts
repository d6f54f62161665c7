/** Builds that ask nobody on the network: what the store or the cache has is used, else the error names the source. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BuildResult } from '../../src/engine/types.ts';
import { pushImage } from '../../src/images/push.ts';
import { build, type DockerfileOptions } from '../../src/sdk/build.ts';
import { ControlKit, failure } from '../api/buildkit/control-kit.ts';
import { Builds } from '../kit/builds.ts';
import { Cli } from '../kit/cli.ts';
import { answerGit } from '../kit/git-server.ts';
import { startServer, type TestServer } from '../kit/http-server.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

onStores('an offline build', (store) => {
  let kit: ControlKit;
  let server: TestServer;
  let registry: TestRegistry;
  const builds = new Builds();
  const cli = new Cli();
  /** What was asked of the web server since it was emptied; the registry is gone by then. */
  const asked: string[] = [];
  let online: BuildResult;

  beforeAll(async () => {
    registry = await startRegistry();
    kit = await ControlKit.start(store.options());
    await builds.use(kit.daemon.engine);
    const files = join(builds.dir, 'files');
    const repo = join(files, 'app.git');
    mkdirSync(repo, { recursive: true });
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', repo, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args]);
    git('init', '-q', '-b', 'main');
    writeFileSync(join(repo, 'file'), 'from git\n');
    git('add', '.');
    git('commit', '-q', '-m', 'one');
    server = await startServer((request, response) => {
      asked.push(request.url ?? '');
      if (request.url?.startsWith('/app.git'))
        answerGit(request, response, files, request.url.split('?', 1)[0]);
      else response.end('from the web\n');
    });
    const { engine } = builds;
    const tag = async (name: string) => {
      await builds.build(
        `FROM base\nRUN echo ${name} >/name\n`,
        {},
        { tags: [`${registry.host}/${name}:1`] },
      );
      await pushImage(engine.store, engine.registry, `${registry.host}/${name}:1`);
      await kit.daemon.ask('DELETE', `/images/${registry.host}/${name}:1?force=1`);
    };
    await tag('seen');
    await tag('unseen');
    await kit.daemon.ask('POST', '/build/prune?all=1');
    await kit.daemon.ask('POST', '/images/prune?filters={"dangling":["true"]}');
    online = await built(text());
    // Of this one the documents are seen, and no layer is fetched.
    await built(`FROM ${registry.host}/unseen:1\nLABEL a=b\n`, {
      outputs: [{ type: 'cacheonly', attrs: {} }],
    });
    await registry.stop();
  });
  beforeEach(() => void asked.splice(0));
  afterAll(async () => {
    await kit.daemon.stop();
    await server.stop();
    cli.close();
    rmSync(builds.dir, { recursive: true, force: true });
  });

  const web = () => `http://${server.host}`;
  const text = () =>
    `FROM ${registry.host}/seen:1\nADD ${web()}/file /web\nADD ${web()}/app.git#main /git\nCOPY f /f\nRUN cat /name /web /git/file /f >/all\n`;
  const built = (dockerfile: string, options: Partial<DockerfileOptions> = {}) =>
    build({
      ...{ engine: builds.engine, context: builds.context({ f: 'mine\n' }), dockerfileText: dockerfile },
      ...{ tags: ['offline'], ...options },
    });

  test('uses what an earlier build has seen and fetched, and asks nobody', async () => {
    const offline = await built(text(), { offline: true });
    expect(offline.descriptor?.digest).toBe(online.descriptor?.digest);
    // Steps that were never run are run on what is here.
    await built(`${text()}RUN wc -l </all >/lines\n`, { offline: true });
    expect((await builds.look('offline')).read('/lines').trim()).toBe('4');
    expect(asked).toEqual([]);
  });

  test('an image of the store, by its name', async () => {
    await built('FROM base\nRUN true\n', { offline: true });
    expect(asked).toEqual([]);
  });

  describe('fails with the source and the step when something is not here', () => {
    const cases: [string, () => string, string][] = [
      ['an image', () => `FROM ${registry.host}/never:1\n`, 'no image \\S+/never:1 for linux/amd64 is here'],
      ['a file', () => `FROM scratch\nADD ${web()}/other /f\n`, 'nothing is known here of http://\\S+/other'],
      [
        'a branch',
        () => `FROM scratch\nADD ${web()}/app.git#dev /f\n`,
        'nothing is known here of dev of http',
      ],
      [
        'a commit',
        () => `FROM scratch\nADD ${web()}/app.git#${'a'.repeat(40)} /f\n`,
        `the commit ${'a'.repeat(40)} of http\\S+ is not here`,
      ],
    ];
    test.each(cases)('%s', async (_, dockerfile, message) => {
      const error = await built(dockerfile(), { offline: true }).catch((err) => err);
      expect(error.code).toBe('unavailable');
      expect(error.message).toMatch(new RegExp(`${message}.*, and the build is offline`));
      expect(error.step).toBeDefined();
      expect(error.hint).toContain('without --offline');
      expect(asked).toEqual([]);
    });

    test('the layers of an image whose documents alone were seen', async () => {
      const error = await built(`FROM ${registry.host}/unseen:1\nRUN true # other\n`, {
        offline: true,
      }).catch((err) => err);
      expect(error.message).toMatch(
        /the layer sha256:\w+ of \S+\/unseen:1\S* is not here, and the build is offline/,
      );
      expect(asked).toEqual([]);
    });
  });

  test('caches elsewhere are left out with a warning; what goes elsewhere is refused', async () => {
    const warnings: string[] = [];
    const cacheFrom = [{ type: 'registry', attrs: { ref: `${registry.host}/cache` } }];
    const progress = { warning: ({ short }: { short: string }) => void warnings.push(short) };
    await built('FROM base\n', { offline: true, cacheFrom, progress });
    expect(warnings.join()).toContain(
      'its registry is not asked, and the build is offline; the build goes on without it',
    );
    const outputs = [{ type: 'image' as const, attrs: { push: 'true' } }];
    await expect(built('FROM base\n', { offline: true, outputs })).rejects.toThrow(
      'an offline build cannot push',
    );
    const cacheTo = [{ type: 'registry', attrs: { ref: `${registry.host}/cache` } }];
    await expect(built('FROM base\n', { offline: true, cacheTo })).rejects.toThrow(
      'an offline build cannot write a cache of the type registry',
    );
    await expect(built(text(), { offline: true, pull: 'always' })).rejects.toThrow(
      /^(\S+): an offline build asks no registry for \1 anew$/,
    );
    expect(asked).toEqual([]);
  });

  test('by every way in', async () => {
    const dockerfile = `FROM scratch\nADD ${web()}/never /f\n`;
    const dir = builds.context({ Dockerfile: dockerfile });
    const told = /nothing is known here of http:\/\/\S+\/never, and the build is offline/;
    const host = ['--host', `unix://${kit.daemon.socket}`];
    expect((await cli.run([...host, 'build', '--offline', dir])).stderr).toMatch(told);
    const body = () => execFileSync('tar', ['-C', dir, '-c', '.']);
    for (const query of ['offline=1', `buildargs=${encodeURIComponent('{"DRYDOCK_OFFLINE":"1"}')}`]) {
      const answer = await kit.daemon.ask('POST', `/build?${query}`, { body: body() });
      expect(JSON.stringify(answer.lines().at(-1))).toMatch(told);
    }
    const solve = (FrontendAttrs: Record<string, string>) =>
      kit.solve({ Frontend: 'dockerfile.v0', FrontendAttrs }, { dirs: { context: dir, dockerfile: dir } });
    expect((await failure(solve({ offline: 'true' }))).message).toMatch(told);
    expect((await failure(solve({ 'build-arg:DRYDOCK_OFFLINE': '1' }))).message).toMatch(told);
    expect(asked).toEqual([]);
  });
});
