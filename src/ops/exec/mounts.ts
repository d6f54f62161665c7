/** Turns an exec op's mounts and inputs into the executor's mounts, and, after the run, into outputs. */

import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { DrydockError, fail } from '../../errors/index.ts';
import type { ExecMount } from '../../executor/index.ts';
import { cleanPath, type Mount } from '../../fs/index.ts';
import { keptUnder } from '../../kept/index.ts';
import { CacheSharingOpt, MountType } from '../../llb/index.ts';
import type { Mount as LlbMount } from '../../pb/solver/pb/ops_pb.js';
import { copyAll, isEmpty, parentOf } from '../../refs/index.ts';
import { contentDigest, refContext, type WorkContext } from '../../solver/index.ts';
import { createdByLabel, type Ref } from '../../store/index.ts';
import { isDue, nextTurn, runTask } from '../../workers/index.ts';
import type { OpDeps } from '../deps.ts';
import {
  cacheMountOwner,
  type HeldCacheMount,
  keptKey,
  type Sharing,
  takeCacheMount,
} from './cache-mount.ts';
import { restoreCacheMount } from './restore-mount.ts';
import { forwardSocket } from './ssh-socket.ts';

/** An output: a snapshot that is still to be committed, or an input that is handed on as it is. */
type MountOutput = { active: string } | { ref: Ref };

const sharings: Record<number, Sharing> = {
  [CacheSharingOpt.SHARED]: 'shared',
  [CacheSharingOpt.PRIVATE]: 'private',
  [CacheSharingOpt.LOCKED]: 'locked',
};

/**
 * The mounts of one run, with everything that they hold. `prepare` makes them, `commit` makes refs of the outputs, and
 * `release` lets go of the rest, however the run ended.
 */
export class PreparedMounts {
  root: { mounts: Mount[]; readonly: boolean } | undefined;
  readonly mounts: ExecMount[] = [];
  readonly #deps: Pick<OpDeps, 'store' | 'cache' | 'refs'>;
  readonly #ctx: WorkContext;
  readonly #outputs = new Map<number, MountOutput>();
  readonly #actives = new Set<string>();
  /** The mounted trees of the build: an input as it is, or a snapshot on top of it. */
  readonly #trees = new Map<LlbMount, { input: Ref | undefined; active?: string }>();
  readonly #releases: (() => Promise<void> | void)[] = [];
  #cwd = '/';
  /** The cache mounts of this step, by a text that is the same for the same cache. */
  readonly #caches = new Map<string, HeldCacheMount>();

  /** The mounts of all trees. */
  get all(): Mount[] {
    const trees = this.mounts.flatMap(({ source }) => (source.type === 'mounts' ? source.mounts : []));
    return [...(this.root?.mounts ?? []), ...trees];
  }

  constructor(deps: Pick<OpDeps, 'store' | 'cache' | 'refs'>, ctx: WorkContext) {
    this.#deps = deps;
    this.#ctx = ctx;
  }

  /**
   * Prepares all mounts. A relative destination is below `cwd`. Throws `invalid` for a mount that cannot be, and
   * `not-found` for a secret or an agent that the client does not give.
   */
  async prepare(mounts: readonly LlbMount[], inputs: readonly Ref[], cwd = '/'): Promise<void> {
    this.#cwd = cwd;
    // Caches come first and in one order, so that two steps that lock the same ones do not wait for each other.
    const isCache = ({ mountType }: LlbMount) => mountType === MountType.CACHE;
    const caches = mounts.filter(isCache).sort((a, b) => (cacheId(a) < cacheId(b) ? -1 : 1));
    for (const mount of [...caches, ...mounts.filter((each) => !isCache(each))]) {
      if (isDue()) await nextTurn();
      await this.#prepareOne(mount, inputs);
    }
    // A mount below another comes after it.
    this.mounts.sort((a, b) => (a.dest < b.dest ? -1 : a.dest > b.dest ? 1 : 0));
  }

  /**
   * Commits the outputs, and returns their refs in the outputs' order. `madeBy` is the step's name, as it is kept with
   * them.
   */
  async commit(madeBy: string): Promise<Ref[]> {
    const refs: Ref[] = [];
    for (const [index, output] of [...this.#outputs].sort(([a], [b]) => a - b)) {
      if ('ref' in output) {
        refs[index] = output.ref;
        continue;
      }
      const name = `exec-${randomUUID()}`;
      const labels = createdByLabel(madeBy);
      await this.#deps.store.snapshots.commit(name, output.active, { lease: this.#ctx.lease, labels });
      this.#actives.delete(output.active);
      refs[index] = this.#deps.refs.snapshot(name);
    }
    return refs;
  }

  /** Keeps the trees as they are now, by mount, under a lease: the state that a failed step has left. */
  async keep(mounts: readonly LlbMount[], lease: string): Promise<(Ref | undefined)[]> {
    const { store, refs } = this.#deps;
    const kept: (Ref | undefined)[] = [];
    for (const mount of mounts) {
      const tree = this.#trees.get(mount);
      if (tree?.active === undefined) {
        kept.push(tree?.input);
        continue;
      }
      const name = `failed-${randomUUID()}`;
      await store.snapshots.commit(name, tree.active, { lease });
      this.#actives.delete(tree.active);
      kept.push(refs.snapshot(name));
    }
    return kept;
  }

  /** Removes snapshots that were not committed, and lets go of everything that is held. */
  async release(): Promise<void> {
    // A build that fails lets go of thousands of steps.
    if (isDue()) await nextTurn();
    const removals = [...this.#actives].map((key) => this.#deps.store.snapshots.remove(key));
    const releases = this.#releases.map(async (release) => release());
    await Promise.allSettled([...removals, ...releases]);
  }

  #dest({ dest }: LlbMount): string {
    return dest.startsWith('/') ? dest : cleanPath(`${this.#cwd}/${dest}`);
  }

  async #prepareOne(mount: LlbMount, inputs: readonly Ref[]): Promise<void> {
    const index = Number(mount.input);
    const input = index < 0 ? undefined : inputs[index];
    if (index >= 0 && input === undefined) throw fail('invalid', 'llb', `invalid mount input ${index}`);
    switch (mount.mountType) {
      case MountType.BIND:
        return this.#bind(mount, input);
      case MountType.TMPFS:
        this.mounts.push({
          dest: this.#dest(mount),
          readonly: mount.readonly,
          source: { type: 'tmpfs', size: Number(mount.TmpfsOpt?.size ?? 0n) },
        });
        return;
      case MountType.CACHE:
        return this.#cache(mount, input);
      case MountType.SECRET:
        return this.#secret(mount);
      case MountType.SSH:
        return this.#ssh(mount);
      default:
        throw fail('unsupported', 'llb', `mount type ${mount.mountType} is not supported`);
    }
  }

  async #bind(mount: LlbMount, input: Ref | undefined): Promise<void> {
    const output = Number(mount.output);
    const isRoot = mount.dest === '/';
    let mounts: Mount[];
    if (!isRoot && mount.readonly) {
      if (output >= 0) this.#outputs.set(output, { ref: input ?? this.#deps.refs.empty() });
      mounts = await this.#view(input);
      this.#trees.set(mount, { input });
    } else {
      // The root is writable underneath even when read-only: mount points are made in it.
      const active = await this.#active(input);
      mounts = active.mounts;
      this.#trees.set(mount, { input, active: active.key });
      if (output >= 0) this.#outputs.set(output, { active: active.key });
    }
    if (isRoot) this.root = { mounts, readonly: mount.readonly };
    else {
      this.mounts.push({
        dest: this.#dest(mount),
        readonly: mount.readonly,
        source: { type: 'mounts', mounts, selector: mount.selector },
      });
    }
  }

  async #active(input: Ref | undefined): Promise<{ key: string; mounts: Mount[] }> {
    const { snapshots } = this.#deps.store;
    const parent = await parentOf(input, refContext(this.#ctx));
    const key = `exec-active-${randomUUID()}`;
    this.#actives.add(key);
    return { key, mounts: await snapshots.prepare(key, parent, { lease: this.#ctx.lease }) };
  }

  async #view(input: Ref | undefined): Promise<Mount[]> {
    const key = await parentOf(input, refContext(this.#ctx));
    if (key === undefined) return [];
    const view = await this.#deps.store.snapshots.view(key);
    this.#releases.push(() => view.release());
    return view.mounts;
  }

  async #cache(mount: LlbMount, input: Ref | undefined): Promise<void> {
    if (Number(mount.output) >= 0)
      throw fail('invalid', 'llb', `cache mount ${mount.dest} cannot be an output`);
    // What it is filled with at first is what a debugger is given for it: its key and its folder come of that.
    this.#trees.set(mount, { input });
    const held = await this.#heldCache(mount, input);
    const bind: Mount = { type: 'bind', source: held.path, options: ['rbind', 'rw'] };
    this.mounts.push({
      dest: this.#dest(mount),
      readonly: mount.readonly,
      source: { type: 'mounts', mounts: [bind], selector: mount.selector },
    });
  }

  /**
   * The cache of a mount. A cache that the step mounts twice is taken once; otherwise the step would wait for itself.
   */
  async #heldCache(mount: LlbMount, input: Ref | undefined): Promise<HeldCacheMount> {
    const { store, cache } = this.#deps;
    const ctx = this.#ctx;
    const id = cacheId(mount);
    const seeded = input !== undefined && !isEmpty(input);
    const key = seeded ? await contentDigest({ store, cache }, input, [{ path: '/' }], ctx) : '';
    const same = `${key} ${id}`;
    const mine = this.#caches.get(same);
    if (mine !== undefined) return mine;
    const fill = async (dir: string) => {
      if (input === undefined) return;
      const actions = [copyAll(await input.view(refContext(ctx)))];
      const target = { kind: 'layers' as const, dirs: [dir] };
      await runTask('fs.apply', { target, actions }, { signal: ctx.signal });
    };
    const caches = keptUnder(store.root).cacheMounts;
    const request = {
      id,
      owner: cacheMountOwner(ctx.session),
      sharing: sharings[mount.cacheOpt?.sharing ?? 0] ?? 'shared',
      seed: seeded ? { key, fill } : undefined,
    };
    await restoreCacheMount(store, caches, keptKey(request), ctx);
    const held = await takeCacheMount(caches, request, ctx.signal);
    this.#releases.push(() => held.release());
    this.#caches.set(same, held);
    return held;
  }

  async #secret(mount: LlbMount): Promise<void> {
    const opt = mount.secretOpt;
    const id = opt?.ID ?? '';
    const data = await findSecret(this.#ctx, id, opt?.optional ?? false);
    if (data === undefined) return;
    const { uid, gid, mode } = opt ?? { uid: 0, gid: 0, mode: 0 };
    this.mounts.push({
      dest: this.#dest(mount),
      readonly: true,
      source: { type: 'file', data, uid, gid, mode: (mode || 0o400) & 0o777 },
    });
  }

  async #ssh(mount: LlbMount): Promise<void> {
    const opt = mount.SSHOpt;
    const id = opt?.ID || 'default';
    const dial = await findAgent(this.#ctx, id, opt?.optional ?? false);
    if (dial === undefined) return;
    const socket = await forwardSocket(this.#deps.store.runDir, dial, {
      uid: opt?.uid ?? 0,
      gid: opt?.gid ?? 0,
      mode: (opt?.mode || 0o600) & 0o777,
    });
    this.#releases.push(() => socket.close());
    this.mounts.push({
      dest: this.#dest(mount),
      readonly: false,
      source: { type: 'host', path: socket.path },
    });
  }
}

/** The ID of a cache mount's cache. */
export function cacheId({ cacheOpt, dest }: LlbMount): string {
  return cacheOpt?.ID || dest;
}

/**
 * The client's ssh agent; undefined when the client forwards none and the mount does not require one. Throws
 * `not-found` when it does.
 */
async function findAgent(
  ctx: WorkContext,
  id: string,
  optional: boolean,
): Promise<(() => Promise<Duplex>) | undefined> {
  const hint = `Give one with --ssh ${id === 'default' ? id : `${id}=PATH`}.`;
  let said = '';
  try {
    const dial = await ctx.session.ssh(id);
    if (dial !== undefined || optional) return dial;
  } catch (err) {
    if (!(err instanceof DrydockError) || err.code !== 'not-found') throw err;
    if (optional) return undefined;
    said = `: ${err.message}`;
  }
  throw fail('not-found', 'session', `no SSH key "${id}" forwarded from the client${said}`, { hint });
}

/**
 * A secret of the client; undefined when the client has none of this ID and it is not required. Throws `not-found` when
 * it is.
 */
export async function findSecret(
  ctx: WorkContext,
  id: string,
  optional: boolean,
): Promise<Buffer | undefined> {
  if (id === '') throw fail('invalid', 'llb', 'secret ID missing');
  const data = await ctx.session.secret(id);
  if (data !== undefined || optional) return data;
  throw fail('not-found', 'session', `secret ${id}: not found`, {
    hint: `Give it with --secret id=${id},src=FILE (or env=NAME).`,
  });
}
