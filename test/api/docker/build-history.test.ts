/** Builds by POST /build are followed and remembered as those by BuildKit's API are. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BuildHistoryRecord } from '../../../src/pb/moby/buildkit/v1/control_pb.js';
import { tarOf } from '../../kit/images.ts';
import { onLocal } from '../../kit/stores.ts';
import { ControlKit } from '../buildkit/control-kit.ts';

onLocal('builds by POST /build are in the history', (store) => {
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
  });
  afterAll(() => kit.daemon.stop());

  const list = async () => {
    const found: (BuildHistoryRecord | undefined)[] = [];
    for await (const { record } of kit.control.listenBuildHistory({ EarlyExit: true })) found.push(record);
    return found;
  };
  const post = (dockerfile: string, query = '') =>
    kit.daemon.ask('POST', `/build?${query}`, { body: tarOf({ Dockerfile: dockerfile, f: 'f' }) });

  test.each(['', 'version=2&'])('one that makes an image: %s', async (version) => {
    const args = encodeURIComponent('{"PLACE":"here","TOKEN":"hidden-from-all"}');
    const answer = await post(
      `FROM scratch AS last\nARG PLACE TOKEN\nCOPY f /f${version}\nLABEL a=b`,
      `${version}t=app:1&target=last&buildargs=${args}`,
    );
    expect(answer.status).toBe(200);
    const [record] = await list();
    expect(record).toMatchObject({
      Frontend: 'dockerfile.v0',
      Exporters: [{ Type: 'image', Attrs: { name: 'docker.io/library/app:1' } }],
      numTotalSteps: expect.any(Number),
      numCompletedSteps: record?.numTotalSteps,
    });
    expect(record?.FrontendAttrs).toMatchObject({ 'build-arg:PLACE': 'here', target: 'last' });
    expect(JSON.stringify(record?.FrontendAttrs)).not.toContain('hidden-from-all');
    expect(record?.ExporterResponse['containerimage.digest']).toMatch(/^sha256:/);
    expect(record?.error).toBeUndefined();
    const names: string[] = [];
    for await (const { vertexes } of kit.control.status({ Ref: record?.Ref ?? '' }))
      names.push(...vertexes.map(({ name }) => name));
    expect(names).toContainEqual(expect.stringContaining('COPY f /f'));
  });

  test('one that fails, with its error', async () => {
    await post('FROM scratch\nCOPY none /');
    const [record] = await list();
    expect(record?.error?.message).toContain('/none');
    expect(record?.CompletedAt).toBeDefined();
  });

  test('one that runs can be followed', async () => {
    const events = kit.control.listenBuildHistory({ ActiveOnly: true })[Symbol.asyncIterator]();
    const building = post('FROM scratch\nCOPY f /followed');
    const { value } = await events.next();
    expect(value.record.CompletedAt).toBeUndefined();
    await building;
    await events.return?.();
  });
});
