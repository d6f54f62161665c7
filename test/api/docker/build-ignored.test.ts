/**
 * Builder version 1 takes `.dockerignore` and the Dockerfile out of a posted context if the patterns say so: its clients
 * send both always, a Dockerfile from elsewhere under a random name. Version 2 leaves them, as dockerd does.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { type TestFile, tarOf } from '../../kit/images.ts';
import { onLocal } from '../../kit/stores.ts';

onLocal('ignored files of a posted context', (store) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
  });
  afterAll(() => daemon.stop());

  let serial = 0;
  /** The names of the files that `COPY . /` put into the image, and its ID. */
  const build = async (query: string, files: Record<string, TestFile>) => {
    const tag = `ignored-${++serial}`;
    const answer = await daemon.ask('POST', `/build?t=${tag}&${query}`, { body: tarOf(files) });
    expect(answer.text).not.toContain('errorDetail');
    return {
      names: await namesIn(tag),
      id: (await daemon.ask('GET', `/images/${tag}/json`)).json<{ Id: string }>().Id,
    };
  };
  /** The names of all files of an image. */
  const namesIn = async (tag: string) => {
    const { findImage } = await import('../../../src/distribution/stored.ts');
    const { ensureLayer, storedLayers } = await import('../../../src/images/blobs.ts');
    const { decompress } = await import('../../../src/tar/decompress.ts');
    const { TarParser } = await import('../../../src/tar/parser.ts');
    const { store: images } = daemon.engine;
    const { image } = await findImage(images, tag);
    const names: string[] = [];
    const lease = `names-${tag}`;
    await images.leases.create(lease);
    for (const layer of await storedLayers(images, image)) {
      await ensureLayer(images, undefined, layer, { lease });
      const parser = new TarParser(
        { entry: ({ path, type }) => void (type === 'file' && names.push(path)), data() {}, end() {} },
        { hop: 'client' },
      );
      const bytes = await images.content.read(layer.descriptor.digest);
      for await (const chunk of decompress(bytes, { hop: 'client' })) parser.push(chunk);
    }
    await images.leases.delete(lease);
    return names.sort();
  };
  const files = (ignore: string, more: Record<string, TestFile> = {}) => ({
    Dockerfile: 'FROM scratch\nCOPY . /\n',
    '.dockerignore': ignore,
    f: 'file',
    sub: { dir: true as const },
    'sub/.dockerignore': 'not the one',
    'sub/Dockerfile': 'not the one',
    ...more,
  });
  const kept = ['f', 'sub/.dockerignore', 'sub/Dockerfile'];

  test.each([
    ['both by name', '.dockerignore\nDockerfile', []],
    ['the Dockerfile alone', 'Dockerfile', ['.dockerignore']],
    ['all at the top but one', '*\n!f\n!sub', []],
    ['all, with an exception', '**/.dockerignore\nDockerfile\n!.dockerignore', ['.dockerignore']],
    ['nothing', '# nothing', ['.dockerignore', 'Dockerfile']],
    ['with a byte order mark', '\ufeff.dockerignore\nDockerfile', []],
  ])('%s', async (_, ignore, left) => {
    expect((await build('version=1', files(ignore))).names).toEqual([...left, ...kept].sort());
    expect((await build('version=2', files(ignore))).names).toEqual(
      ['.dockerignore', 'Dockerfile', ...kept].sort(),
    );
  });

  test('a Dockerfile from elsewhere, under a random name, does not spoil the cache', async () => {
    const ids = new Set<string>();
    for (const name of ['.dockerfile.1a2b', '.dockerfile.3c4d']) {
      const sent = files(`Dockerfile\n.dockerignore\n${name}`, { [name]: 'FROM scratch\nCOPY . /\n' });
      // The client has left out what its own patterns mean.
      delete (sent as Record<string, TestFile>).Dockerfile;
      const { names, id } = await build(`dockerfile=${name}`, sent);
      expect(names).toEqual(kept);
      ids.add(id);
    }
    expect(ids.size).toBe(1);
  });

  test('the docker CLI’s builder of old: -f from elsewhere, and from stdin', async () => {
    const dir = join(daemon.dir, 'cli');
    mkdirSync(join(dir, 'context'), { recursive: true });
    writeFileSync(join(dir, 'context/f'), 'file');
    writeFileSync(join(dir, 'Elsewhere'), 'FROM scratch\nCOPY . /\n');
    const env = { DOCKER_BUILDKIT: '0' };
    const context = join(dir, 'context');
    const one = await daemon.docker(['build', '-t', 'cli', '-f', join(dir, 'Elsewhere'), context], { env });
    expect(one).toMatchObject({ code: 0 });
    expect(await namesIn('cli')).toEqual(['f']);
    const input = 'FROM scratch\nCOPY . /\n';
    const two = await daemon.docker(['build', '-t', 'cli', '-f', '-', context], { env, input });
    expect(two).toMatchObject({ code: 0 });
    expect(await namesIn('cli')).toEqual(['f']);
  });

  test('a malformed pattern is said', async () => {
    const answer = await daemon.ask('POST', '/build', { body: tarOf(files('[')) });
    expect(answer.text).toMatch(/syntax error in pattern|malformed|pattern/);
  });

  test('links lead nowhere: what they point to is neither read nor moved', async () => {
    const outside = join(daemon.dir, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'Dockerfile'), 'FROM scratch\nCOPY f /\n');
    writeFileSync(join(outside, 'ignore'), '*');
    symlinkSync('Dockerfile', join(outside, 'link'));
    const linked = { ...files(''), '.dockerignore': { link: join(outside, 'ignore') } };
    const { names } = await build('version=1', linked);
    expect(names).toContain('Dockerfile');
    const through = { ...files('*\n!f'), there: { link: outside } };
    await daemon.ask('POST', '/build?dockerfile=there/Dockerfile', { body: tarOf(through) });
    const { existsSync } = await import('node:fs');
    expect(existsSync(join(outside, 'Dockerfile'))).toBe(true);
  });
});
