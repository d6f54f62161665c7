/** The date of an image in containerd, which the tests' own containerd is too old to keep. */
import { Code, ConnectError } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { mediaTypes } from '../../src/oci/types.ts';
import { ContainerdImages } from '../../src/store/containerd/images.ts';
import type { ContainerdParts } from '../../src/store/containerd/shared.ts';

const target = { mediaType: mediaTypes.ociManifest, digest: digestOf('m'), size: 1 };

/** A containerd without images that answers with what it was asked for. */
function fake() {
  const asked: { kind: string; sourceDateEpoch?: { seconds: bigint } }[] = [];
  const answer = (kind: string) => async (request: object) => {
    asked.push({ kind, ...request });
    if (kind === 'update' && asked.length === 1) throw new ConnectError('none', Code.NotFound);
    return request;
  };
  const call = (_: unknown, work: (options: object) => Promise<unknown>) => work({});
  const connection = {
    images: { update: answer('update'), create: answer('create') },
    content: { info: async () => ({}) },
    find: (...args: Parameters<typeof call>) => call(...args).catch(() => undefined),
    raw: call,
  };
  return { asked, images: new ContainerdImages({ connection } as unknown as ContainerdParts) };
}

test.each([
  ['the date that it is given', 1445412480, 1445412480n],
  ["containerd's own time without one", undefined, undefined],
])('a name that is made or moved has %s', async (_, date, seconds) => {
  const { asked, images } = fake();
  await images.put('app', target, undefined, date);
  await images.put('app', target, undefined, date);
  expect(asked.map((each) => [each.kind, each.sourceDateEpoch?.seconds])).toEqual([
    ['update', seconds],
    ['create', seconds],
    ['update', seconds],
  ]);
});
