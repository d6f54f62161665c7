/** `cachefrom` of `POST /build`: steps taken from an image that was built with its cache inside, by either builder. */
import { readFileSync } from 'node:fs';
import { fromBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StatusResponseSchema } from '../../../src/pb/moby/buildkit/v1/status_pb.js';
import { startTestDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { tarOf } from '../../kit/images.ts';
import { onStores } from '../../kit/stores.ts';

interface Line {
  id?: string;
  aux?: unknown;
  stream?: string;
  error?: string;
}

onStores('cachefrom', (store) => {
  let daemon: TestDaemon;
  beforeAll(async () => {
    daemon = await startTestDaemon(store.options());
  });
  afterAll(() => daemon.stop());

  const tar = tarOf({
    Dockerfile:
      'FROM scratch\nCOPY busybox /bin/sh\nRUN read id < /proc/sys/kernel/random/uuid && echo $id > /id\n',
    busybox: { data: readFileSync('/bin/busybox'), mode: 0o755 },
  });
  const build = async (parameters: Record<string, string>) => {
    const { status, text, lines } = await daemon.ask('POST', `/build?${new URLSearchParams(parameters)}`, {
      body: tar,
      headers: { 'content-type': 'application/x-tar' },
    });
    expect([status, text]).toEqual([200, expect.not.stringContaining('"error"')]);
    return lines<Line>();
  };
  const traced = (lines: Line[]) =>
    lines
      .filter(({ id }) => id === 'moby.buildkit.trace')
      .map(({ aux }) => fromBinary(StatusResponseSchema, Buffer.from(String(aux), 'base64')));
  const layers = async (name: string) => {
    const { RootFS } = (await daemon.ask('GET', `/images/${name}/json`)).json<{
      RootFS: { Layers: string[] };
    }>();
    return RootFS.Layers;
  };

  test('an image of the store with an inline cache', async () => {
    await build({ version: '2', t: 'cached:1', buildargs: JSON.stringify({ BUILDKIT_INLINE_CACHE: '1' }) });
    await daemon.ask('POST', '/build/prune?all=1');
    const lines = await build({ version: '2', t: 'again:1', cachefrom: JSON.stringify(['cached:1']) });
    const steps = new Map(
      traced(lines).flatMap(({ vertexes }) => vertexes.map((each) => [each.name, each.cached])),
    );
    expect([...steps].filter(([name]) => /^\[\d/.test(name)).map(([, cached]) => cached)).toEqual([
      true,
      true,
    ]);
    expect(await layers('again:1')).toEqual(await layers('cached:1'));

    await daemon.ask('DELETE', '/images/again:1');
    await daemon.ask('POST', '/build/prune?all=1');
    const text = await build({ t: 'again:1', cachefrom: JSON.stringify(['cached:1']) });
    expect(text.map(({ stream }) => stream).filter((each) => each === ' ---> Using cache\n')).toHaveLength(2);
    expect(await layers('again:1')).toEqual(await layers('cached:1'));
  });

  test('an image that nobody has is a warning', async () => {
    const lines = await build({ version: '2', cachefrom: JSON.stringify(['127.0.0.1:1/none']) });
    const warnings = traced(lines).flatMap((each) =>
      each.warnings.map(({ short }) => Buffer.from(short).toString()),
    );
    expect(warnings).toEqual([
      expect.stringMatching(/^importing cache from 127.0.0.1:1\/none:latest: .*connection refused/),
    ]);
  });

  test('something else than a list of names is refused', async () => {
    const query = new URLSearchParams({ version: '2', cachefrom: '[1]' });
    const { status, text } = await daemon.ask('POST', `/build?${query}`, { body: tar });
    expect([status, text]).toEqual([400, expect.stringContaining('cachefrom')]);
  });
});
