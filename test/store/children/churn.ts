/**
 * A process that uses a store in every way, without end, and says what it was promised: `+ <image> <n>` once an
 * image is named, `- <image>` before its name is deleted. It is killed while at it. With `keep` it gives up nothing.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { specOfMounts } from '../../../src/fs/view.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { mediaTypes } from '../../../src/oci/types.ts';
import { contentRefLabels, snapshotRefLabel } from '../../../src/store/labels.ts';
import { openLocalStore } from '../../../src/store/local/open.ts';

const [root = '', name = '', mode = ''] = process.argv.slice(2);
const say = (line: string) => writeSync(1, `${line}\n`);
say('started');
const store = await openLocalStore(root);
say('ready');

for (let n = 0; ; n++) {
  const lease = `${name}-${n}`;
  await store.leases.create(lease);
  let parent: string | undefined;
  for (let depth = 0; depth < 3; depth++) {
    const key = `${name}-${n}-${depth}`;
    const spec = specOfMounts(await store.snapshots.prepare(`${key}-w`, parent, { lease }));
    if (spec.kind === 'layers') {
      mkdirSync(join(spec.dirs[0]!, `d${depth}`));
      writeFileSync(join(spec.dirs[0]!, `d${depth}`, 'f'), key);
    }
    await store.snapshots.commit(key, `${key}-w`, { lease });
    parent = key;
  }
  await store.snapshots.restack?.(`${name}-${n}-r`, `${name}-${n}-1`, undefined, { lease });
  const data = Buffer.alloc(40_000, `${name}-${n}`);
  const digest = digestOf(data);
  const kept = await store.content.writer(`${name}-${n}`, { lease, expected: { digest } });
  await kept.write(data.subarray(0, 1000));
  await kept.abort(true);
  const writer = await store.content.writer(`${name}-${n}`, { lease, expected: { digest } });
  await writer.write(data.subarray(writer.offset));
  await writer.commit();
  const path = (await store.content.ingestPath?.()) ?? '';
  writeFileSync(path, `second ${name} ${n}`);
  const second = digestOf(`second ${name} ${n}`);
  await store.content.adopt?.(path, { digest: second, size: `second ${name} ${n}`.length }, { lease });
  // Every process stores and collects this one.
  const common = await store.content.put(Buffer.from('common'), { lease });
  const config = await store.content.put(createHash('sha256').update(lease).digest(), {
    lease,
    labels: snapshotRefLabel(store.snapshotter, parent!),
  });
  const children = [
    { mediaType: mediaTypes.ociConfig, digest: config, size: 32 },
    ...[digest, second, common].map((layer) => ({
      mediaType: mediaTypes.ociLayer,
      digest: layer,
      size: 1,
    })),
  ];
  const manifest = Buffer.from(JSON.stringify({ lease, children }));
  const target = await store.content.put(manifest, { lease, labels: contentRefLabels(children) });
  const image = { mediaType: mediaTypes.ociManifest, digest: target, size: manifest.length };
  await store.images.put(`${name}:${n}`, image);
  say(`+ ${name}:${n} ${parent}`);
  if (mode === 'keep') continue;
  const view = await store.snapshots.view(parent!);
  await store.leases.delete(lease);
  await view.release();
  if (n % 3 === 2) {
    say(`- ${name}:${n - 1}`);
    await store.images.delete(`${name}:${n - 1}`);
    await store.gc();
  }
}
