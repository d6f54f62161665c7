/** A process that makes things in a store under its lease, says so, and stays until it is killed or told to end. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { specOfMounts } from '../../../src/fs/view.ts';
import { mount } from '../../../src/linux/libc.ts';
import { openLocalStore } from '../../../src/store/local/open.ts';
import { MS_BIND } from '../../kit/mount-flags.ts';

const [root = '', key = ''] = process.argv.slice(2);
const store = await openLocalStore(root);
const lease = `lease-${key}`;
await store.leases.create(lease);
const mounts = await store.snapshots.prepare(`${key}-work`, undefined, { lease });
const spec = specOfMounts(mounts);
if (spec.kind === 'layers') writeFileSync(join(spec.dirs[0]!, 'file'), key);
await store.snapshots.commit(key, `${key}-work`, { lease });
await store.snapshots.prepare(`${key}-active`, key, { lease });
await store.content.put(Buffer.from(key), { lease });
const writer = await store.content.writer('pull', { lease });
await writer.write(Buffer.from('half'));
writeFileSync((await store.content.ingestPath?.()) ?? '', 'half');
const view = await store.snapshots.view(key);
// A mount in the run folder, as an executor makes them.
const seen = specOfMounts(view.mounts);
mkdirSync(join(store.runDir, 'rootfs'));
if (seen.kind === 'layers') mount(seen.dirs[0]!, join(store.runDir, 'rootfs'), 'none', MS_BIND, '');
process.stdout.write('ready\n');
process.stdin.on('data', async () => {
  await store.close();
  process.exit(0);
});
