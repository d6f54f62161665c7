/** Squash: the layers that a build adds to its base become one; the base's stay as they are. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseOutputs } from '../../src/cli/build/outputs.ts';
import { build } from '../../src/sdk/build.ts';
import { ApiBuilds, shellContext } from '../kit/api-builds.ts';
import { startTestDaemon } from '../kit/daemon.ts';
import { onStores } from '../kit/stores.ts';

interface Image {
  RootFS: { Layers: string[] };
}
interface Step {
  Comment: string;
  Size: number;
}

const steps = 'RUN echo one > /one; echo big > /big\nENV A=b\nRUN rm /big /old; echo two > /two\n';

onStores('squash', (store) => {
  let builds: ApiBuilds;
  beforeAll(async () => {
    builds = await ApiBuilds.open(store);
    await builds.ok(shellContext('RUN echo old > /old', {}, ['rm', 'ls']), 't=base');
  });
  afterAll(async () => {
    expect(await builds.leftBehind()).toEqual([]);
    await builds.stop();
  });
  const layers = async (image: string) =>
    (await builds.daemon.ask('GET', `/v1.44/images/${image}/json`)).json<Image>().RootFS.Layers;
  const history = async (image: string) =>
    (await builds.daemon.ask('GET', `/v1.44/images/${image}/history`)).json<Step[]>();

  test.each(['version=1&', ''])('POST /build?%ssquash=1', async (version) => {
    const name = version === '' ? 'two' : 'one';
    await builds.ok(`FROM base\n${steps}`, `${version}squash=1&t=${name}`);
    const [own, base] = [await layers(name), await layers('base')];
    expect(own.slice(0, -1)).toEqual(base);
    // The steps stay in the history without layers, and the layer has an entry of its own.
    const entries = (await history(name)).reverse();
    const added = entries.slice((await history('base')).length);
    expect(added.map(({ Comment, Size }) => [Comment, Size > 0])).toEqual([
      [expect.any(String), false],
      [expect.any(String), false],
      [expect.any(String), false],
      ['merge 2 layers to the base image', true],
    ]);
    // The files of both steps, and nothing that a step has removed; a build on it reads them.
    const { log } = await builds.ok(`FROM ${name}\nRUN echo ${name}; ls /\n`, 'version=1');
    expect(log).toMatch(/^one$/m);
    expect(log).toMatch(/^two$/m);
    expect(log).not.toMatch(/^(old|big)$/m);
  });

  test('the library; the same build makes the same image, by the same steps', async () => {
    const { engine } = builds.daemon;
    const wanted = {
      engine,
      squash: true,
      context: builds.daemon.dir,
      dockerfileText: `FROM base\n${steps}`,
    };
    const [first, again] = [
      await build({ ...wanted, tags: ['lib'] }),
      await build({ ...wanted, tags: ['lib2'] }),
    ];
    expect(again.imageId).toBe(first.imageId);
    expect(await layers('lib')).toEqual(await layers('two'));
  });

  test('a build on nothing gets one layer; one that adds no files keeps its base', async () => {
    await builds.ok(shellContext('RUN echo a > /a\nRUN echo b > /b'), 'squash=1&t=scratch');
    expect(await layers('scratch')).toHaveLength(1);
    expect((await history('scratch'))[0]?.Comment).toBe('create new from 3 layers');
    await builds.ok('FROM base\nENV X=y\n', 'squash=1&t=env');
    expect(await layers('env')).toEqual(await layers('base'));
  });

  test('archives, several platforms: each image by itself', async () => {
    const { engine, dir } = builds.daemon;
    const dest = join(dir, 'layout');
    await build({
      engine,
      context: dir,
      platforms: ['linux/amd64', 'linux/arm64'],
      dockerfileText: 'FROM scratch\nCOPY <<EOF /a\na\nEOF\nCOPY <<EOF /b\nb\nEOF\n',
      outputs: [{ type: 'oci', attrs: { tar: 'false', squash: 'true' }, sink: { files: dest } }],
    });
    const read = (digest: string) =>
      JSON.parse(readFileSync(join(dest, 'blobs/sha256', digest.slice('sha256:'.length)), 'utf8'));
    const index = JSON.parse(readFileSync(join(dest, 'index.json'), 'utf8'));
    const images = read(index.manifests[0].digest).manifests as { digest: string }[];
    expect(images.map(({ digest }) => read(digest).layers.length)).toEqual([1, 1]);
  });
});

test('docker build --squash, which docker sends to an experimental daemon alone', async () => {
  const daemon = await startTestDaemon({ experimental: true });
  try {
    const context = join(daemon.dir, 'context');
    mkdirSync(context);
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /a\nCOPY Dockerfile /b\n');
    const env = { DOCKER_BUILDKIT: '0' };
    expect(await daemon.docker(['build', '-q', '--squash', '-t', 'app', context], { env })).toMatchObject({
      code: 0,
    });
    const { stdout } = await daemon.docker(['inspect', '-f', '{{len .RootFS.Layers}}', 'app']);
    expect(stdout.trim()).toBe('1');
  } finally {
    await daemon.stop();
  }
});

test('the command: --squash is for all outputs that are images', () => {
  const attrs = (...output: string[]) =>
    parseOutputs({ output, squash: true }, {}).map(({ spec }) => spec.attrs);
  expect(attrs()).toEqual([{ squash: 'true' }]);
  expect(attrs('type=image,name=a', 'type=local,dest=x')).toEqual([{ squash: 'true', name: 'a' }, {}]);
  expect(attrs('type=image,squash=false')).toEqual([{ squash: 'false' }]);
  expect(() => attrs('type=local,dest=x')).toThrow('--squash: no output makes an image');
});
