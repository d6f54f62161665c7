import { mkdirSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoCode, fail } from '../../errors/index.ts';
import { LazyFiles } from '../../lazy/index.ts';
import { markTop, ownFolder } from '../../linux/index.ts';
import type { LazyLayers, Store } from '../store.ts';
import { StoreWork } from '../work.ts';
import { LocalContent } from './content.ts';
import { Db } from './db.ts';
import { collect } from './gc.ts';
import { LocalImages } from './images.ts';
import { layoutOf, type RootLayout } from './layout.ts';
import { LocalLeases } from './leases.ts';
import { overlayOptions, whyNoOverlay } from './overlay.ts';
import { claimOwners } from './owners.ts';
import { dropOwnRows, type Run, startRun, sweepDeadRuns } from './run.ts';
import type { LocalParts } from './shared.ts';
import { LocalSnapshots } from './snapshots.ts';
import { Trash } from './trash.ts';
import { verify } from './verify.ts';

type LocalSnapshotter = 'overlayfs' | 'native' | 'stargz' | 'auto';

interface LocalStoreOptions {
  /**
   * `auto` (default): the snapshotter that the root was made with; for a new root overlayfs where it works, else
   * native. `stargz`: overlayfs, and new layers are lazy where that is possible.
   */
  snapshotter?: LocalSnapshotter;
  /** See `StoreOptions.sync`. */
  sync?: boolean;
}

/**
 * Opens the store in a folder, or makes it. Several processes may have it open at once. Remains of killed processes are
 * swept. Throws `unsupported` (overlayfs asked for but not usable here, or a newer format), `conflict` (the root was
 * made with another snapshotter, or its layers with other id mappings), `unavailable` (locked), `denied`, `corrupt`.
 */
export async function openLocalStore(root: string, options: LocalStoreOptions = {}): Promise<Store> {
  const layout = makeFolders(root);
  const db = new Db(layout.db);
  let run: Run | undefined;
  try {
    claimOwners(db);
    run = startRun(db, layout);
    const trash = new Trash(run.dir);
    const wanted = options.snapshotter ?? 'auto';
    const snapshotter = chooseSnapshotter(db, run, wanted === 'stargz' ? 'overlayfs' : wanted);
    const lazyFiles = new LazyFiles(layout.snapshots, run.dir);
    const shared: LocalParts = {
      db,
      layout,
      run,
      trash,
      snapshotter,
      lazyFiles,
      sync: options.sync ?? false,
    };
    // After a kill nothing may be half there, and the things that only the dead process held are removed.
    if (sweepDeadRuns(shared)) await collect(shared, { afterKill: true });
    return new LocalStore(shared, wanted === 'stargz');
  } catch (err) {
    run?.end();
    db.close();
    throw err;
  }
}

function makeFolders(root: string): RootLayout {
  try {
    mkdirSync(root, { recursive: true, mode: 0o711 });
    const layout = layoutOf(realpathSync(root));
    for (const dir of [dirname(layout.blobs), layout.blobs, layout.snapshots, layout.ingest, layout.run]) {
      ownFolder(dir);
    }
    markTop(layout.snapshots);
    return layout;
  } catch (err) {
    const code = errnoCode(err);
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw err;
    throw fail('denied', 'store', `cannot make the store in ${root} (${code})`, {
      hint: 'Run as a user who may write there, or choose another folder with --root.',
      cause: err,
    });
  }
}

/** A root keeps the snapshotter that it was made with, since the layers of one are not layers of the other. */
function chooseSnapshotter(
  db: Db,
  run: Run,
  wanted: 'overlayfs' | 'native' | 'auto',
): 'overlayfs' | 'native' {
  const known = db.get(`SELECT value FROM meta WHERE name = 'snapshotter'`)?.value;
  if (known !== undefined && (wanted === 'auto' || wanted === known)) return known as 'overlayfs' | 'native';
  const why = wanted === 'native' ? undefined : whyNoOverlay(run.dir);
  if (wanted === 'overlayfs' && why !== undefined) {
    throw fail('unsupported', 'store', `overlayfs does not work here: ${why}`, {
      hint: 'Use --snapshotter=native, or a root on a filesystem that overlayfs can use (ext4, xfs, btrfs).',
    });
  }
  const chosen = wanted === 'native' || why !== undefined ? 'native' : 'overlayfs';
  return db.write(() => {
    const now = db.get(`SELECT value FROM meta WHERE name = 'snapshotter'`)?.value;
    if (now === chosen || (now !== undefined && wanted === 'auto')) return now as 'overlayfs' | 'native';
    if (now !== undefined && db.get('SELECT 1 FROM snapshots LIMIT 1') !== undefined) {
      throw fail('conflict', 'store', `this store's snapshots are of kind ${now}, not ${chosen}`, {
        hint: `Leave the snapshotter out, or use another --root.`,
      });
    }
    db.run(`INSERT OR REPLACE INTO meta (name, value) VALUES ('snapshotter', ?)`, chosen);
    return chosen;
  });
}

class LocalStore implements Store {
  readonly kind = 'local';
  readonly shared = false;
  readonly snapshotter: 'overlayfs' | 'native';
  readonly root: string;
  readonly runDir: string;
  readonly content: LocalContent;
  readonly snapshots: LocalSnapshots;
  readonly images: LocalImages;
  readonly leases: LocalLeases;
  readonly work = new StoreWork();
  readonly lazy: LazyLayers;
  readonly #shared: LocalParts;
  elsewhere?: Store['elsewhere'];
  #closing: Promise<void> | undefined;

  constructor(shared: LocalParts, wantsLazy: boolean) {
    this.#shared = shared;
    const { lazyFiles } = shared;
    const lazyFolder = (id: number) => lazyFiles.layerFolder(id);
    const places = { folder: shared.layout.snapshots, options: overlayOptions(), lazyFolder };
    this.snapshotter = shared.snapshotter;
    this.root = shared.layout.root;
    this.runDir = shared.run.dir;
    this.content = new LocalContent(shared);
    this.snapshots = new LocalSnapshots(shared, places);
    this.images = new LocalImages(shared);
    this.leases = new LocalLeases(shared);
    this.lazy = {
      wanted: wantsLazy,
      problem: () => lazyFiles.problem(),
      begin: async (key) => this.snapshots.beginLazy(key),
      connect: (settings) => lazyFiles.connect(settings),
      lend: (source, credentials) => lazyFiles.lend(source, credentials),
      failureSince: (time, layers) => lazyFiles.failureSince(time, layers),
    };
  }

  async gc(letGo?: () => Promise<unknown>) {
    await letGo?.();
    return collect(this.#shared, { afterKill: false });
  }

  settled() {
    return this.#shared.trash.settled();
  }

  verify(onProgress?: (done: number, total: number) => void) {
    return verify(this.#shared, onProgress);
  }

  /** Releases everything that this opening holds: its leases, views, active snapshots and unfinished blobs. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { db, run, trash, lazyFiles } = this.#shared;
    try {
      await lazyFiles.close();
      await this.content.close();
      dropOwnRows(this.#shared);
      await trash.settled();
    } finally {
      db.close();
      run.end();
    }
  }
}
