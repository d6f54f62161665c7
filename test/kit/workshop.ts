/** A real local store, cache and refs in a temp folder, that can be closed and opened again as a new process would. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cache } from '../../src/cache/cache.ts';
import { openView } from '../../src/fs/open.ts';
import type { FsView } from '../../src/fs/view.ts';
import { createRefs } from '../../src/refs/refs.ts';
import type { Refs } from '../../src/refs/types.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { openLocalStore } from '../../src/store/local/open.ts';
import type { Ref } from '../../src/store/ref.ts';
import type { Store } from '../../src/store/store.ts';

export class Workshop {
  readonly root = mkdtempSync(join(tmpdir(), 'drydock-workshop-'));
  store!: Store;
  cache!: Cache;
  refs!: Refs;
  readonly registry = new RegistryClient({ userAgent: 'drydock-test', insecure: [] });

  async open(): Promise<void> {
    this.store = await openLocalStore(this.root);
    this.cache = new Cache(this.store.root);
    this.refs = createRefs({ store: this.store, registry: this.registry });
    await this.store.leases.create('test');
  }

  async close(): Promise<void> {
    this.cache.close();
    await this.store.close();
  }

  async restart(): Promise<void> {
    await this.close();
    await this.open();
  }

  async remove(): Promise<void> {
    await this.close();
    rmSync(this.root, { recursive: true, force: true });
  }

  /** Looks into a ref. */
  async view(ref: Ref | undefined): Promise<FsView> {
    if (ref === undefined) throw new Error('there is no ref');
    return openView(await ref.view({ lease: 'test' }));
  }

  /** Leases that are neither ours nor a cache record's: what a finished build must not leave. */
  async looseLeases(): Promise<string[]> {
    const all = await this.store.leases.list();
    return all.filter(({ id, pinned }) => !pinned && id !== 'test').map(({ id }) => id);
  }
}
