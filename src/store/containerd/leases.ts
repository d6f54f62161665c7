import { Code } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import { inParallel } from '../../flow/index.ts';
import type { Digest } from '../../oci/index.ts';
import type { Lease, Resource } from '../../pb/containerd/leases_pb.js';
import { isHeld } from '../shared/run-folder.ts';
import type { LeaseOptions, LeaseResource, Leases } from '../store.ts';
import { Bundle, keyOf, worthBundling } from './bundle.ts';
import { hasCode } from './errors.ts';
import { foreignLabels, leaseLabels, noLease } from './lease-names.ts';
import { type ContainerdParts, isDamaged } from './shared.ts';

/**
 * From `worthListing` snapshots on, containerd's whole list is read instead of asking for each; `listedForOne` limits
 * the list to so many entries for each snapshot.
 */
const worthListing = 16;
const listedForOne = 8;

/**
 * The leases in containerd, so that containerd's own collector respects them: each pinned lease by itself, the others
 * in groups (see PassingLeases). A lease that is not pinned names its run in a label; the next opening of the root
 * deletes it once that run is dead.
 */
export class ContainerdLeases implements Leases {
  readonly #shared: ContainerdParts;
  /** Returns the path of a run's lock. */
  readonly #lockOf: (run: string) => string;
  /** Pinned leases that this process has made. */
  readonly #pinned = new Set<string>();

  constructor(shared: ContainerdParts, lockOf: (run: string) => string) {
    this.#shared = shared;
    this.#lockOf = lockOf;
  }

  /**
   * Makes a lease. Making one again that this process has, or a pinned one, is no error; `pinned` pins it. Throws
   * `conflict` when a pinned lease would take the name of another living process's lease. (Names of other leases are
   * private to each process.)
   */
  async create(id: string, options: LeaseOptions = {}): Promise<void> {
    await this.#create(id, options);
    const holds = options.holds ?? [];
    if (options.pinned === true && holds.length >= worthBundling) return this.#bundle(id, holds);
    await Promise.all(holds.map((resource) => this.add(id, resource)));
  }

  /** Puts many things under a pinned lease by one call. Throws as `add` does. */
  async #bundle(id: string, resources: readonly LeaseResource[]): Promise<void> {
    const bundle = Bundle.of(
      this.#shared,
      resources.map((resource) => this.#toResource(resource)),
    );
    await bundle.make(this.#shared.names.of(id));
    const listed = await this.#listed(resources);
    const there = await inParallel(resources, (resource) => this.#isThere(resource, listed));
    const gone = resources.filter((_, i) => !there[i]);
    if (gone[0] === undefined) return;
    await bundle.drop(gone.map((resource) => this.#toResource(resource)));
    throw notThere(gone[0]);
  }

  async #create(id: string, options: LeaseOptions): Promise<void> {
    const { passing } = this.#shared;
    const labels = options.labels ?? {};
    if (options.pinned !== true && !this.#pinned.has(id)) return passing.create(id, labels);
    const before = passing.labels(id);
    await this.#pin(id, { ...before, ...labels });
    if (before === undefined) return;
    const held = passing.things(id);
    await inParallel(held, (thing) => this.#addTo(id, thing));
    await passing.delete(id);
  }

  async #pin(id: string, labels: Record<string, string>): Promise<void> {
    if (await this.#make(id, labels)) return;
    const old = await this.#get(id);
    if (old === undefined) {
      // The lease was deleted between the two calls.
      await this.#make(id, labels);
      return;
    }
    const run = old.labels[leaseLabels.run];
    if (run !== undefined && run !== this.#shared.run.id && this.#lives(run)) {
      throw fail('conflict', 'store', `the lease ${JSON.stringify(id)} belongs to another process`);
    }
    const all = { ...foreignLabels(old.labels), ...labels };
    const same = JSON.stringify(all) === JSON.stringify(foreignLabels(old.labels));
    if (!same || run !== undefined) await this.#replace(id, all);
    this.#pinned.add(id);
  }

  /** Makes a lease in containerd; false when it exists. */
  async #make(id: string, labels: Record<string, string>): Promise<boolean> {
    const { connection, names } = this.#shared;
    try {
      await connection.raw({ again: true }, (call) =>
        connection.leases.create(
          { id: names.of(id), labels: { ...labels, ...names.labels('lease', {}) } },
          call,
        ),
      );
      this.#pinned.add(id);
      return true;
    } catch (err) {
      if (hasCode(err, Code.AlreadyExists)) return false;
      throw connection.failure(err, `making the lease ${JSON.stringify(id)}`);
    }
  }

  /**
   * Makes a lease anew with other labels, which containerd cannot change. A second lease holds its things meanwhile.
   */
  async #replace(id: string, labels: Record<string, string>): Promise<void> {
    const { connection, names, passing } = this.#shared;
    const bridge = `${id}-bridge-${crypto.randomUUID()}`;
    const held = await connection.call('reading a lease', { again: true }, (call) =>
      connection.leases.listResources({ id: names.of(id) }, call),
    );
    await passing.create(bridge, {});
    await inParallel(held.resources, (resource) => passing.add(bridge, resource));
    await this.#deletePinned(id);
    await this.#make(id, labels);
    await inParallel(held.resources, (resource) => this.#addTo(id, resource));
    await passing.delete(bridge);
  }

  #lives(run: string): boolean {
    return isHeld(this.#lockOf(run));
  }

  async #get(id: string): Promise<Lease | undefined> {
    const { connection, names } = this.#shared;
    const { leases } = await connection.call('reading a lease', { again: true }, (call) =>
      connection.leases.list({ filters: [`id==${JSON.stringify(names.of(id))}`] }, call),
    );
    return leases[0];
  }

  /**
   * Puts a thing under a lease. Throws `not-found` when the lease or the thing is missing, or the thing is not whole.
   */
  async add(id: string, resource: LeaseResource): Promise<void> {
    const { passing } = this.#shared;
    const thing = this.#toResource(resource);
    await this.#addTo(id, thing);
    // The thing is looked for when it is held, so nobody can collect it between the two.
    if (await this.#there(resource)) return passing.saw(id, thing);
    await this.removeResource(id, resource);
    throw notThere(resource);
  }

  /** Puts many things under a lease; see `Leases.addAll`. Throws `not-found` when the lease is missing. */
  async addAll(id: string, resources: readonly LeaseResource[]): Promise<boolean[]> {
    const { passing } = this.#shared;
    const things = resources.map((resource) => this.#toResource(resource));
    if (passing.has(id)) await passing.addAll(id, things);
    else await inParallel(things, (thing) => this.#addTo(id, thing));
    const listed = await this.#listed(resources);
    return inParallel(resources, async (resource) => {
      if (await this.#isThere(resource, listed)) {
        passing.saw(id, this.#toResource(resource));
        return true;
      }
      await this.removeResource(id, resource);
      return false;
    });
  }

  /**
   * Names of existing snapshots, not necessarily all. For many snapshots, reading containerd's list costs less than a
   * call for each, as long as the list is not much longer than they are.
   */
  async #listed(resources: readonly LeaseResource[]): Promise<Set<string>> {
    const { connection, snapshotter } = this.#shared;
    const wanted = resources.filter((resource) => {
      return resource.type === 'snapshot' && !this.#isHeld(resource);
    }).length;
    const found = new Set<string>();
    if (wanted < worthListing) return found;
    await connection.call('listing snapshots', { again: true }, async (call) => {
      for await (const { info } of connection.snapshots.list({ snapshotter }, call)) {
        for (const { name } of info) found.add(name);
        if (found.size > wanted * listedForOne) return;
      }
    });
    return found;
  }

  async #isThere(resource: LeaseResource, listed: ReadonlySet<string>): Promise<boolean> {
    return (resource.type === 'snapshot' && listed.has(resource.id)) || this.#there(resource);
  }

  async #addTo(id: string, { id: thing, type }: Pick<Resource, 'id' | 'type'>): Promise<void> {
    const { connection, names, passing } = this.#shared;
    if (passing.has(id)) return passing.add(id, { id: thing, type });
    try {
      await connection.raw({ again: true }, (call) =>
        connection.leases.addResource({ id: names.of(id), resource: { id: thing, type } }, call),
      );
    } catch (err) {
      if (hasCode(err, Code.NotFound)) throw noLease(id);
      throw connection.failure(err, `keeping ${thing}`);
    }
  }

  #toResource(resource: LeaseResource): { id: string; type: string } {
    const type = resource.type === 'blob' ? 'content' : `snapshots/${this.#shared.snapshotter}`;
    return { id: resource.id, type };
  }

  /** Whether a snapshot is known to be there, since this process holds it and has seen it. */
  #isHeld(snapshot: LeaseResource): boolean {
    return this.#shared.passing.isThere(this.#toResource(snapshot));
  }

  async #there(resource: LeaseResource): Promise<boolean> {
    const { connection, snapshotter } = this.#shared;
    const what = `looking for ${resource.id}`;
    if (resource.type === 'snapshot') {
      if (this.#isHeld(resource)) return true;
      const found = await connection.find(what, (call) =>
        connection.snapshots.stat({ snapshotter, key: resource.id }, call),
      );
      return found !== undefined;
    }
    const found = await connection.find(what, (call) =>
      connection.content.info({ digest: resource.id }, call),
    );
    return found?.info !== undefined && !isDamaged(this.#shared, resource.id, Number(found.info.size));
  }

  async removeResource(id: string, resource: LeaseResource): Promise<void> {
    const { connection, names, passing } = this.#shared;
    if (passing.has(id)) return passing.remove(id, this.#toResource(resource));
    const thing = this.#toResource(resource);
    await connection.find(`letting go of ${resource.id}`, (call) =>
      connection.leases.deleteResource({ id: names.of(id), resource: thing }, call),
    );
    for (const each of await this.#named(id)) {
      const bundle = await Bundle.find(this.#shared, each);
      if (bundle?.things.some((other) => keyOf(other) === keyOf(thing))) await bundle.drop([thing]);
    }
  }

  /** The things under the lease that exist. (containerd also keeps names of things that were deleted by hand.) */
  async resources(id: string): Promise<LeaseResource[]> {
    const { snapshotter } = this.#shared;
    const all = (await this.#things(id)).flatMap(({ id: thing, type }): LeaseResource[] => {
      if (type === 'content') return [{ type: 'blob', id: thing as Digest }];
      return type === `snapshots/${snapshotter}` ? [{ type: 'snapshot', id: thing }] : [];
    });
    const there = await inParallel(all, (resource) => this.#there(resource));
    return all.filter((_, i) => there[i]);
  }

  async #things(id: string): Promise<Pick<Resource, 'id' | 'type'>[]> {
    const { passing } = this.#shared;
    if (passing.has(id)) return passing.things(id);
    const named = await inParallel(await this.#named(id), async (thing) => {
      return (await Bundle.find(this.#shared, thing))?.things ?? [thing];
    });
    return named.flat();
  }

  /** What a lease in containerd names itself: things, and bundles of them. */
  async #named(id: string): Promise<Pick<Resource, 'id' | 'type'>[]> {
    const { connection, names } = this.#shared;
    const held = await connection.find('reading a lease', (call) =>
      connection.leases.listResources({ id: names.of(id) }, call),
    );
    return held?.resources ?? [];
  }

  /**
   * Deletes a lease; a missing one is no error. Its things stay until they are collected. When containerd is away, a
   * lease of this run is deleted once it is back: a build that ends after its store went away has not failed by that.
   */
  async delete(id: string): Promise<void> {
    const { passing } = this.#shared;
    if (passing.has(id)) return passing.delete(id);
    await this.#deletePinned(id);
  }

  async #deletePinned(id: string): Promise<void> {
    const { connection, names } = this.#shared;
    this.#pinned.delete(id);
    await connection.find('deleting a lease', (call) => connection.leases.delete({ id: names.of(id) }, call));
  }

  /** Lists the leases. Of other processes' leases that are not pinned, only their existence and things are known. */
  async list(only?: {
    pinned: boolean;
  }): Promise<{ id: string; pinned: boolean; labels: Record<string, string> }[]> {
    const { names, passing, run } = this.#shared;
    const which = only?.pinned === false ? 'passing' : 'all';
    const others = (await ownLeases(this.#shared, which)).filter(({ labels }) => {
      const use = labels[leaseLabels.use];
      return use === 'lease' || (use === 'passing' && labels[leaseLabels.run] !== run.id);
    });
    return [
      ...passing.list().map((lease) => ({ ...lease, pinned: false })),
      ...others.map(({ id, labels }) => ({
        id: names.idOf(id),
        pinned: labels[leaseLabels.run] === undefined,
        labels: foreignLabels(labels),
      })),
    ].filter(({ pinned }) => only === undefined || pinned === only.pinned);
  }
}

function notThere({ type, id }: LeaseResource) {
  return fail('not-found', 'store', `there is no ${type} ${id} to keep`);
}

/** The leases of this root, whatever their use: all, or those alone that are not kept for good. */
export async function ownLeases(
  { connection, names }: Omit<ContainerdParts, 'passing'>,
  which: 'all' | 'passing',
): Promise<Lease[]> {
  const filters = which === 'all' ? [names.filter] : names.passing;
  const { leases } = await connection.call('listing leases', { again: true }, (call) =>
    connection.leases.list({ filters }, call),
  );
  return leases;
}

/**
 * Deletes these leases in containerd. With `collect`, the things that only they kept are collected before this returns.
 */
export async function deleteLeases(
  { connection }: Omit<ContainerdParts, 'passing'>,
  leases: readonly string[],
  options: { collect: boolean },
): Promise<void> {
  const remove = (id: string, sync: boolean) =>
    connection.find('deleting a lease', (call) => connection.leases.delete({ id, sync }, call));
  const last = leases.at(-1);
  if (last === undefined) return;
  await inParallel(leases.slice(0, -1), (id) => remove(id, false));
  await remove(last, options.collect);
}
