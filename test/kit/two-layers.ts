/** A small tree of two layers with what exporters must get right: a file gone again, a setuid bit, links of both kinds. */
import { chmodSync, linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ref } from '../../src/store/ref.ts';
import type { Store } from '../../src/store/store.ts';
import { refsOf } from '../exporter/kit.ts';
import { step } from '../layer/kit.ts';

/** `bin/tool` (4755), `bin/zame` (the same file), `link` → `bin/tool`, `größe`; `gone` is gone. */
export async function twoLayers(store: Store): Promise<Ref> {
  const below = await step(store, 'one', undefined, (root) => {
    mkdirSync(join(root, 'bin'));
    writeFileSync(join(root, 'bin/tool'), 'tool');
    chmodSync(join(root, 'bin/tool'), 0o4755);
    writeFileSync(join(root, 'gone'), '');
  });
  return refsOf(store).snapshot(
    await step(store, 'two', below, (root) => {
      rmSync(join(root, 'gone'));
      linkSync(join(root, 'bin/tool'), join(root, 'bin/zame'));
      symlinkSync('bin/tool', join(root, 'link'));
      writeFileSync(join(root, 'größe'), '');
    }),
  );
}
