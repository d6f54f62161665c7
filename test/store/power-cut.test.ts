/** What of the local store is on the disk: seen on a copy of the disk, taken while the store goes on. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { syncFilesystem } from '../../src/linux/sync-fs.ts';
import { mediaTypes } from '../../src/oci/types.ts';
import { contentRefLabels } from '../../src/store/labels.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import { unmountBelow } from '../../src/store/shared/run-folder.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-power-'));
});
afterAll(() => {
  unmountBelow(dir);
  rmSync(dir, { recursive: true, force: true });
});

/** Mounts a disk image; ext4 would write everything by itself after five seconds. */
function mounted(disk: string, name: string): string {
  const at = join(dir, name);
  mkdirSync(at);
  execFileSync('mount', ['-o', 'loop,commit=300', disk, at], { stdio: 'pipe' });
  return at;
}

test('with `sync` an image that has got its name survives a power cut, layers and all', async () => {
  const disk = join(dir, 'disk');
  writeFileSync(disk, '');
  truncateSync(disk, 64 << 20);
  execFileSync('mkfs.ext4', ['-q', disk], { stdio: 'pipe' });
  const store = await openLocalStore(join(mounted(disk, 'before'), 'root'), { sync: true });
  await store.leases.create('build');
  const layer = await store.content.put(randomBytes(4 << 20), { lease: 'build' });
  const labels = contentRefLabels([{ mediaType: mediaTypes.ociLayer, digest: layer, size: 4 << 20 }]);
  const manifest = await store.content.put(Buffer.from('{}'), { lease: 'build', labels });
  await store.images.put('docker.io/library/app:latest', {
    mediaType: mediaTypes.ociManifest,
    digest: manifest,
    size: 2,
  });
  // The power goes.
  copyFileSync(disk, join(dir, 'after-the-cut'));
  await store.close();
  const again = await openLocalStore(join(mounted(join(dir, 'after-the-cut'), 'after'), 'root'));
  try {
    expect((await again.images.get('docker.io/library/app:latest'))?.target.digest).toBe(manifest);
    expect((await again.content.list()).map(({ digest }) => digest).toSorted()).toEqual(
      [layer, manifest].toSorted(),
    );
    expect((await again.verify()).problems).toEqual([]);
  } finally {
    await again.close();
  }
});

test('what cannot be synced is an error', async () => {
  await expect(syncFilesystem(join(dir, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
});
