/** Platforms that differ in the version of the operating system alone: built together, exported, found again. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Builds } from '../kit/builds.ts';
import { onStores } from '../kit/stores.ts';

onStores('platforms with an OS version', (store) => {
  const builds = new Builds();
  beforeAll(() => builds.open(store.options()));
  afterAll(() => builds.close());

  const platforms = ['windows(1.2.3)/bar', 'windows(1.1.0)/bar'];

  test('each has its folder, its config and, as a base, its files', async () => {
    const dest = mkdtempSync(join(builds.dir, 'out-'));
    await builds.build(
      'FROM scratch\nARG TARGETOSVERSION\nCOPY <<EOF /version\n$TARGETOSVERSION\nEOF\n',
      {},
      {
        platforms,
        tags: ['both'],
        outputs: [
          { type: 'image', attrs: {} },
          { type: 'local', attrs: {}, sink: { files: dest } },
        ],
      },
    );
    const version = (folder: string) => readFileSync(join(dest, folder, 'version'), 'utf8').trim();
    expect(version('windows(1.2.3)_bar')).toBe('1.2.3');
    expect(version('windows(1.1.0)_bar')).toBe('1.1.0');
    for (const platform of platforms) {
      const files = mkdtempSync(join(builds.dir, 'based-'));
      const outputs = [{ type: 'local' as const, attrs: {}, sink: { files } }];
      await builds.build('FROM both\n', {}, { platforms: [platform], tags: ['both'], outputs });
      expect(`windows(${readFileSync(join(files, 'version'), 'utf8').trim()})/bar`).toBe(platform);
    }
  });
});
