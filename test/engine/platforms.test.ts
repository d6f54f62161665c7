/** One build for several platforms: what their graphs share is made once, what differs above it differs. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { OutputSpec } from '../../src/engine/types.ts';
import { build } from '../../src/sdk/build.ts';
import { ApiBuilds, shellContext } from '../kit/api-builds.ts';
import { onStores } from '../kit/stores.ts';

const platforms = ['linux/arm64', 'linux/amd64', 'linux/arm/v7'];
const shell = shellContext('ENV PATH=/bin', {}, ['cat', 'uname']);
/** By what the graphs share: a source, a stage that runs here, everything, or what is below several stages. */
const dockerfiles = {
  source: 'FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\n',
  stage: `FROM --platform=$BUILDPLATFORM shell AS make
RUN echo same > /same
ARG TARGETARCH
RUN cat /same > /out && echo for $TARGETARCH >> /out
FROM scratch
COPY --from=make /out /same /
`,
  all: 'FROM scratch\nCOPY f /f\n',
  diamond: `FROM --platform=$BUILDPLATFORM shell AS base
COPY f /f
FROM base AS a
ARG TARGETARCH
RUN echo a $TARGETARCH > /a
FROM base AS b
RUN echo b > /b
FROM scratch
COPY --from=b /b /
COPY --from=a /a /f /
`,
};

onStores('several platforms in one build', (store) => {
  let api: ApiBuilds;
  const folder = (files: Record<string, string>) => {
    const dir = mkdtempSync(join(api.daemon.dir, 'context-'));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
    return dir;
  };
  /** Builds into a folder per platform; gives what a file of each says. */
  const built = async (dockerfile: string, file: (arch: string) => string) => {
    const dest = mkdtempSync(join(api.daemon.dir, 'out-'));
    const { engine } = api.daemon;
    const context = folder({ Dockerfile: dockerfile, f: 'hi' });
    const outputs: OutputSpec[] = [
      { type: 'local', attrs: {}, sink: { files: dest } },
      { type: 'image', attrs: {} },
    ];
    await build({ context, platforms, engine, tags: ['many'], outputs, progress: {} });
    const names = { 'linux/arm64': 'arm64', 'linux/amd64': 'amd64', 'linux/arm/v7': 'arm' };
    const texts = Object.entries(names).map(([platform, arch]) =>
      readFileSync(join(dest, platform.replaceAll('/', '_'), file(arch)), 'utf8'),
    );
    return texts;
  };

  beforeAll(async () => {
    api = await ApiBuilds.open(store);
    await api.ok(shell, 't=shell');
  });
  afterAll(() => api.stop());

  test('build(): a source, a stage, everything, or several stages are shared', async () => {
    const source = await built(dockerfiles.source, (arch) => `f-${arch}`);
    expect(source).toEqual(['hi', 'hi', 'hi']);
    const stage = await built(dockerfiles.stage, () => 'out');
    expect(stage).toEqual(['same\nfor arm64\n', 'same\nfor amd64\n', 'same\nfor arm\n']);
    const diamond = await built(dockerfiles.diamond, () => 'a');
    expect(diamond).toEqual(['a arm64\n', 'a amd64\n', 'a arm\n']);
    const all = await built(dockerfiles.all, () => 'f');
    expect(all).toEqual(['hi', 'hi', 'hi']);
  });

  test('what is shared runs once', async () => {
    const before = api.daemon.engine.solver.stepsRun;
    await built(dockerfiles.stage.replaceAll('same', 'once'), () => 'out');
    // One RUN for all; a RUN and a COPY for each.
    expect(api.daemon.engine.solver.stepsRun - before).toBe(7);
  });

  test.each(['1', '2'])('POST /build, version %s', async (version) => {
    for (const [name, Dockerfile] of Object.entries(dockerfiles)) {
      const query = `version=${version}&platform=${platforms.join()}&t=${name}-${version}`;
      await api.ok({ Dockerfile, f: 'hi' }, query);
    }
    expect(await api.leftBehind()).toEqual([]);
  });

  test('one index has a manifest for each, the layers that are equal once, and the statements about each', async () => {
    interface Index {
      manifests: {
        digest: string;
        platform: { architecture: string };
        annotations?: Record<string, string>;
      }[];
    }
    const layout = mkdtempSync(join(api.daemon.dir, 'layout-'));
    const dockerfile = `${dockerfiles.stage}COPY f /\n`;
    const outputs: OutputSpec[] = [{ type: 'oci', attrs: { tar: 'false' }, sink: { files: layout } }];
    const context = folder({ Dockerfile: dockerfile, f: 'equal' });
    const { engine } = api.daemon;
    await build({
      context,
      platforms,
      engine,
      tags: ['app'],
      outputs,
      provenance: true,
      sbom: true,
      progress: {},
    });
    const blob = <T>(digest: string) =>
      JSON.parse(readFileSync(join(layout, 'blobs', digest.replace(':', '/')), 'utf8')) as T;
    const top = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as Index;
    expect(top.manifests).toHaveLength(1);
    const { manifests } = blob<Index>(top.manifests[0]?.digest ?? '');
    expect(manifests.map(({ platform }) => platform.architecture)).toEqual([
      ...['arm64', 'amd64', 'arm'],
      ...platforms.map(() => 'unknown'),
    ]);
    const about = manifests.slice(3).map((each) => each.annotations?.['vnd.docker.reference.digest']);
    expect(about).toEqual(manifests.slice(0, 3).map(({ digest }) => digest));
    const layersOf = ({ digest }: { digest: string }) =>
      blob<{ layers: { digest: string }[] }>(digest).layers.map((layer) => layer.digest);
    const layers = manifests.slice(0, 3).map(layersOf);
    // What was made for each differs; what was copied is the same.
    expect(new Set(layers.map(([own]) => own)).size).toBe(3);
    expect(new Set(layers.map(([, same]) => same)).size).toBe(1);
    expect(layersOf(manifests[3] as Index['manifests'][number])).toHaveLength(2);
  });

  test('the cache of it is written once for all, and found again', async () => {
    const dest = mkdtempSync(join(api.daemon.dir, 'cache-'));
    const context = folder({ Dockerfile: dockerfiles.diamond, f: 'for the cache' });
    const options = { context, platforms, engine: api.daemon.engine, progress: {} };
    const outputs: OutputSpec[] = [{ type: 'cacheonly', attrs: {} }];
    await build({ ...options, outputs, cacheTo: [{ type: 'local', attrs: { dest, mode: 'max' } }] });
    await api.daemon.ask('POST', '/build/prune?all=1');
    const before = api.daemon.engine.solver.stepsRun;
    await build({ ...options, outputs, cacheFrom: [{ type: 'local', attrs: { src: dest } }] });
    expect(api.daemon.engine.solver.stepsRun).toBe(before);
  });
});
