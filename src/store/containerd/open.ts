import { randomBytes } from 'node:crypto';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Code } from '@connectrpc/connect';
import { DrydockError, errnoCode, fail } from '../../errors/index.ts';
import { ownFolder } from '../../linux/index.ts';
import type { Plugin } from '../../pb/containerd/introspection_pb.js';
import { runTask } from '../../workers/index.ts';
import { type Run, startRunFolder, unmountBelow } from '../shared/run-folder.ts';
import type { Store } from '../store.ts';
import { StoreWork } from '../work.ts';
import { Connection } from './connection.ts';
import { ContainerdContent, readableBlobs } from './content.ts';
import { hasCode } from './errors.ts';
import { type CollectedParts, census, collect, sweepDeadRuns } from './gc.ts';
import { ContainerdImages } from './images.ts';
import { LeaseNames, leaseLabels } from './lease-names.ts';
import { ContainerdLeases, deleteLeases, ownLeases } from './leases.ts';
import { PassingLeases } from './passing-leases.ts';
import { defaultAddress, defaultNamespace } from './place.ts';
import type { ContainerdParts } from './shared.ts';
import { ContainerdSnapshots } from './snapshots.ts';
import { verify } from './verify.ts';
import { Views } from './views.ts';

interface ContainerdStoreOptions {
  /** Drydock's own folder beside containerd. This store keeps its files in `containerd/<namespace>` below it. */
  root: string;
  /** Path of containerd's socket. */
  address?: string;
  namespace?: string;
  /**
   * Default: overlayfs where containerd has it, else native. Other snapshotters work if they give overlay or bind
   * mounts.
   */
  snapshotter?: string;
  /** Read blobs through containerd's API even where its files can be read (for tests). */
  streamBlobs?: boolean;
  /** How long a call waits for a containerd that is restarting; default 10,000 ms. */
  patience?: number;
}

/**
 * Opens a containerd on this host as a store. Several processes may have one root open. Leases and folders of killed
 * processes are swept. Throws `unavailable` (no containerd answers), `unsupported` (no such snapshotter), `denied`,
 * `invalid` (a bad name of a namespace).
 */
export async function openContainerdStore(options: ContainerdStoreOptions): Promise<Store> {
  const namespace = options.namespace ?? defaultNamespace;
  if (!/^[A-Za-z0-9]+(?:[-._][A-Za-z0-9]+)*$/.test(namespace) || namespace.length > 76) {
    throw fail('invalid', 'store', `${JSON.stringify(namespace)} is no namespace of containerd`);
  }
  const root = makeFolders(join(options.root, 'containerd', namespace));
  const runFolder = join(root, 'run');
  const connection = new Connection(options.address ?? defaultAddress, namespace, options.patience);
  let run: Run | undefined;
  try {
    const plugins = await hello(connection);
    const snapshotter = chooseSnapshotter(plugins, options.snapshotter);
    run = startRunFolder(runFolder);
    const contentRoot = plugins.find(({ type }) => type === 'io.containerd.content.v1')?.exports.root;
    const parts = {
      connection,
      snapshotter,
      run,
      names: new LeaseNames(rootId(root)),
      blobFolder: options.streamBlobs === true ? undefined : readableBlobs(contentRoot),
    };
    const shared: ContainerdParts = { ...parts, passing: new PassingLeases(parts) };
    await removeRuns(await sweepDeadRuns(shared, runFolder), runFolder);
    return new ContainerdStore(shared, root);
  } catch (err) {
    run?.end();
    connection.close();
    throw err;
  }
}

function makeFolders(root: string): string {
  try {
    for (const dir of [dirname(root), root, join(root, 'run')]) ownFolder(dir);
    return realpathSync(root);
  } catch (err) {
    const code = errnoCode(err);
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw err;
    throw fail('denied', 'store', `cannot make Drydock's folder ${root} (${code})`, {
      hint: 'Run as a user who may write there, or choose another folder with --root.',
      cause: err,
    });
  }
}

/** The id that tells this root's leases from other roots'. It is made once. */
function rootId(root: string): string {
  const path = join(root, 'id');
  try {
    writeFileSync(path, randomBytes(6).toString('hex'), { flag: 'wx', mode: 0o600 });
  } catch (err) {
    if (errnoCode(err) !== 'EEXIST') throw err;
  }
  for (let tries = 0; tries < 100; tries++) {
    const id = readFileSync(path, 'utf8').trim();
    if (/^[0-9a-f]{12}$/.test(id)) return id;
    // Another process is just writing it.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
  throw fail('corrupt', 'store', `${path} does not hold this root's id`, {
    hint: 'Delete the file: a new id is made, and leases of the old one expire.',
  });
}

/** Checks that containerd answers, makes the namespace, and asks for containerd's plugins. */
async function hello(connection: Connection): Promise<Plugin[]> {
  const rules = { again: true, impatient: true };
  await connection.call('opening the image store', rules, (call) => connection.version.version({}, call));
  try {
    await connection.raw(rules, (call) =>
      connection.namespaces.create({ namespace: { name: connection.namespace } }, call),
    );
  } catch (err) {
    if (!hasCode(err, Code.AlreadyExists)) {
      throw connection.failure(err, `making the namespace ${connection.namespace}`);
    }
  }
  const { plugins } = await connection.call('asking what containerd has', rules, (call) =>
    connection.introspection.plugins({}, call),
  );
  return plugins;
}

/** Snapshotters whose snapshots are not folders. */
const blockSnapshotters = new Set(['btrfs', 'zfs', 'devmapper', 'blockfile', 'erofs']);

function chooseSnapshotter(plugins: readonly Plugin[], wanted: string | undefined): string {
  const all = plugins.filter(({ type }) => type === 'io.containerd.snapshotter.v1');
  const usable = all
    .filter(({ id, initErr }) => initErr === undefined && !blockSnapshotters.has(id))
    .map(({ id }) => id);
  const chosen = wanted ?? ['overlayfs', 'native'].find((id) => usable.includes(id));
  if (chosen !== undefined && usable.includes(chosen)) return chosen;
  const why = all.find(({ id }) => id === wanted)?.initErr?.message;
  const name = wanted === undefined ? 'no snapshotter that Drydock can use' : `no snapshotter ${wanted}`;
  throw fail('unsupported', 'store', `containerd has ${name}${why === undefined ? '' : `: ${why}`}`, {
    hint:
      usable.length > 0
        ? `Use one of these with --snapshotter: ${usable.join(', ')}.`
        : 'Turn on the overlayfs or native snapshotter in /etc/containerd/config.toml.',
  });
}

/** Removes the folders of dead runs. A folder with a mount that cannot be unmounted is left alone. */
async function removeRuns(dead: readonly string[], runFolder: string): Promise<void> {
  const paths = dead.map((id) => join(runFolder, id)).filter((path) => unmountBelow(path));
  if (paths.length > 0) await runTask('store.remove', { paths });
}

class ContainerdStore implements Store {
  readonly kind = 'containerd';
  readonly shared = true;
  readonly snapshotter: string;
  readonly root: string;
  readonly dataFolder?: string;
  readonly runDir: string;
  readonly content: ContainerdContent;
  readonly snapshots: ContainerdSnapshots;
  readonly images: ContainerdImages;
  readonly leases: ContainerdLeases;
  readonly work = new StoreWork();
  readonly #shared: ContainerdParts;
  readonly #parts: CollectedParts;
  elsewhere?: Store['elsewhere'];
  #closing: Promise<void> | undefined;

  constructor(shared: ContainerdParts, root: string) {
    this.#shared = shared;
    this.snapshotter = shared.snapshotter;
    this.root = root;
    this.runDir = shared.run.dir;
    if (shared.blobFolder !== undefined) this.dataFolder = dirname(dirname(shared.blobFolder));
    const views = new Views(shared);
    this.content = new ContainerdContent(shared);
    this.leases = new ContainerdLeases(shared, (run) => join(root, 'run', run, 'lock'));
    this.snapshots = new ContainerdSnapshots(shared, this.leases, views);
    this.images = new ContainerdImages(shared);
    this.#parts = { content: this.content, snapshots: this.snapshots, views };
  }

  async gc(letGo?: () => Promise<unknown>) {
    const before = await census(this.#parts);
    await letGo?.();
    const runFolder = join(this.root, 'run');
    await removeRuns(await sweepDeadRuns(this.#shared, runFolder, 'too'), runFolder);
    return collect(this.#shared, this.#parts, before);
  }

  verify(onProgress?: (done: number, total: number) => void) {
    return verify(this.#shared, this.#parts, onProgress);
  }

  /** Releases everything that this opening holds: its leases, views and unfinished blobs. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { connection, run } = this.#shared;
    connection.hurry();
    try {
      this.#parts.views.close();
      await this.content.close();
      const own = (await ownLeases(this.#shared, 'passing')).filter(
        ({ labels }) => labels[leaseLabels.run] === run.id,
      );
      await deleteLeases(
        this.#shared,
        own.map(({ id }) => id),
        { collect: false },
      );
    } catch (err) {
      // Without containerd nothing can be released. This run is dead then, and the next opening sweeps it.
      if (!(err instanceof DrydockError) || err.code !== 'unavailable') throw err;
    } finally {
      connection.close();
      run.end();
    }
  }
}
