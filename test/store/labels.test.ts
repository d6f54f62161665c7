/** Which labels keep a document's children, and what labels are read to keep. */
import { expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { mediaTypes } from '../../src/oci/types.ts';
import { contentRefLabels, refsOfLabels, snapshotRefLabel } from '../../src/store/labels.ts';

const child = (mediaType: string, name: string) => ({ mediaType, digest: digestOf(name), size: 1 });

test("a manifest's config and layers, an index's manifests", () => {
  expect(
    contentRefLabels([
      child(mediaTypes.dockerConfig, 'config'),
      child(mediaTypes.dockerLayerGzip, 'one'),
      child(mediaTypes.ociLayerZstd, 'two'),
    ]),
  ).toEqual({
    'containerd.io/gc.ref.content.config': digestOf('config'),
    'containerd.io/gc.ref.content.l.0': digestOf('one'),
    'containerd.io/gc.ref.content.l.1': digestOf('two'),
  });
  expect(
    contentRefLabels([child(mediaTypes.ociManifest, 'amd64'), child(mediaTypes.dockerIndex, 'nested')]),
  ).toEqual({
    'containerd.io/gc.ref.content.m.0': digestOf('amd64'),
    'containerd.io/gc.ref.content.m.1': digestOf('nested'),
  });
  expect(contentRefLabels([])).toEqual({});
});

test('every child is kept, whatever its type', () => {
  const odd = [
    child('application/x-a', 'a'),
    child(mediaTypes.ociConfig, 'c1'),
    child(mediaTypes.ociConfig, 'c2'),
  ];
  expect(Object.values(contentRefLabels(odd)).sort()).toEqual(odd.map(({ digest }) => digest).sort());
});

test('labels are read by prefix, and snapshots of the own snapshotter only', () => {
  const refs = refsOfLabels(
    {
      ...snapshotRefLabel('overlayfs', 'mine'),
      ...snapshotRefLabel('overlayfs2', 'other'),
      'containerd.io/gc.ref.snapshot.overlayfs/a': 'mine too',
      'containerd.io/gc.ref.content': digestOf('bare'),
      'containerd.io/gc.ref.content.l.0': digestOf('layer'),
      'containerd.io/gc.ref.contents': digestOf('another word'),
      'drydock/diff-id': digestOf('no reference'),
    },
    'overlayfs',
  );
  expect(refs).toEqual([
    { type: 'snapshot', id: 'mine' },
    { type: 'snapshot', id: 'mine too' },
    { type: 'blob', id: digestOf('bare') },
    { type: 'blob', id: digestOf('layer') },
  ]);
});
