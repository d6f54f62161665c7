import { Code } from '@connectrpc/connect';
import { DrydockError, fail } from '../../errors/error.ts';
import type { Digest } from '../../oci/types.ts';
import type { Lease, Resource } from '../../pb/containerd/leases_pb.js';
import { isHeld } from '../shared/run-folder.ts';
import type { LeaseResource, Leases } from '../store.ts';
import { hasCode } from './errors.ts';
import { foreignLabels, leaseLabels, leaseLifeMs } from './lease-names.ts';
import { inParallel, type Shared } from './shared.ts';

/**
 * Leases are containerd's, so that its own collector respects them. One that is not pinned names its run in a label,
 * and is deleted by the next opening of the root once that run is dead.
 */
export class ContainerdLeases implements Leases {
  readonly #shared: Shared;
  /** Where the lock of a run is. */
  readonly #lockOf: (run: string) => string;
  /** Leases of this run: they end with it in any case. */
  readonly #passing = new Set<string>();
  /** Those of them that are to be deleted as soon as containerd is back. */
  readonly #owed = new Set<string>();

  constructor(shared: Shared, lockOf: (run: string) => string) {
    this.#shared = shared;
    this.#lockOf = lockOf;
  }

  /**
   * Making a lease that this process has, or a pinned one, again is fine; `pinned` pins it. Throws `conflict` when
   * it is another living process's.
   */
  async create(
    id: string,
    options: { pinned?: boolean; labels?: Record<string, string> } = {},
  ): Promise<void> {
    await this.#deleteOwed();
    if (await this.#make(id, options.pinned === true, options.labels ?? {})) return;
    const old = await this.#get(id);
    if (old === undefined) {
      // Deleted between the two calls.
      await this.#make(id, options.pinned === true, options.labels ?? {});
      return;
    }
    const run = old.labels[leaseLabels.run];
    if (run !== undefined && run !== this.#shared.run.id && this.#lives(run)) {
      throw fail('conflict', 'store', `the lease ${JSON.stringify(id)} belongs to another process`);
    }
    const labels = { ...foreignLabels(old.labels), ...options.labels };
    const same = JSON.stringify(labels) === JSON.stringify(foreignLabels(old.labels));
    const pinned = run === undefined || options.pinned === true;
    const mine = run === undefined || run === this.#shared.run.id;
    if (!same || pinned !== (run === undefined) || !mine) await this.#replace(id, pinned, labels);
  }

  /** False when there is such a lease. */
  async #make(id: string, pinned: boolean, labels: Record<string, string>): Promise<boolean> {
    const { connection, names, run } = this.#shared;
    const own = names.labels('lease', pinned ? {} : { run: run.id, ms: leaseLifeMs });
    try {
      await connection.raw({ again: true }, (call) =>
        connection.leases.create({ id: names.of(id), labels: { ...labels, ...own } }, call),
      );
      if (pinned) this.#passing.delete(id);
      else this.#passing.add(id);
      return true;
    } catch (err) {
      if (hasCode(err, Code.AlreadyExists)) return false;
      throw connection.failure(err, `making the lease ${JSON.stringify(id)}`);
    }
  }

  /** containerd cannot change a lease: another one holds its things while it is made anew. */
  async #replace(id: string, pinned: boolean, labels: Record<string, string>): Promise<void> {
    const { connection, names } = this.#shared;
    const bridge = `${id}-bridge-${crypto.randomUUID()}`;
    const held = await connection.call('reading a lease', { again: true }, (call) =>
      connection.leases.listResources({ id: names.of(id) }, call),
    );
    await this.#make(bridge, false, {});
    await inParallel(held.resources, (resource) => this.#addTo(bridge, resource));
    await this.delete(id);
    await this.#make(id, pinned, labels);
    await inParallel(held.resources, (resource) => this.#addTo(id, resource));
    await this.delete(bridge);
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

  /** Throws `not-found` when the lease or the thing is not there: what was added is there and stays. */
  async add(id: string, resource: LeaseResource): Promise<void> {
    await this.#addTo(id, this.#toResource(resource));
    // Looked for when it is held: nobody can collect it between the two.
    if (await this.#there(resource)) return;
    await this.removeResource(id, resource);
    throw fail('not-found', 'store', `there is no ${resource.type} ${resource.id} to keep`);
  }

  async #addTo(id: string, { id: thing, type }: Pick<Resource, 'id' | 'type'>): Promise<void> {
    const { connection, names } = this.#shared;
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

  async #there(resource: LeaseResource): Promise<boolean> {
    const { connection, snapshotter } = this.#shared;
    const what = `looking for ${resource.id}`;
    const found =
      resource.type === 'blob'
        ? await connection.find(what, (call) => connection.content.info({ digest: resource.id }, call))
        : await connection.find(what, (call) =>
            connection.snapshots.stat({ snapshotter, key: resource.id }, call),
          );
    return found !== undefined;
  }

  async removeResource(id: string, resource: LeaseResource): Promise<void> {
    const { connection, names } = this.#shared;
    await connection.find(`letting go of ${resource.id}`, (call) =>
      connection.leases.deleteResource({ id: names.of(id), resource: this.#toResource(resource) }, call),
    );
  }

  /** What the lease holds that is there: containerd keeps the names of what was deleted by hand. */
  async resources(id: string): Promise<LeaseResource[]> {
    const { connection, names, snapshotter } = this.#shared;
    const held = await connection.find('reading a lease', (call) =>
      connection.leases.listResources({ id: names.of(id) }, call),
    );
    const all = (held?.resources ?? []).flatMap(({ id: thing, type }): LeaseResource[] => {
      if (type === 'content') return [{ type: 'blob', id: thing as Digest }];
      return type === `snapshots/${snapshotter}` ? [{ type: 'snapshot', id: thing }] : [];
    });
    const there = await inParallel(all, (resource) => this.#there(resource));
    return all.filter((_, i) => there[i]);
  }

  /**
   * Deleting a lease that is not there is fine. What it kept stays until it is collected. Of a containerd that has
   * gone away, a lease of this run is deleted when it is back: the end of a build whose store is gone is no failure.
   */
  async delete(id: string): Promise<void> {
    try {
      await this.#deleteNow(id);
      this.#passing.delete(id);
    } catch (err) {
      const gone = err instanceof DrydockError && err.code === 'unavailable';
      if (!gone || !this.#passing.has(id)) throw err;
      this.#owed.add(id);
    }
  }

  async #deleteNow(id: string): Promise<void> {
    const { connection, names } = this.#shared;
    await connection.find('deleting a lease', (call) => connection.leases.delete({ id: names.of(id) }, call));
  }

  async #deleteOwed(): Promise<void> {
    for (const id of this.#owed) {
      await this.#deleteNow(id);
      this.#owed.delete(id);
      this.#passing.delete(id);
    }
  }

  async list(): Promise<{ id: string; pinned: boolean; labels: Record<string, string> }[]> {
    const { names } = this.#shared;
    return (await ownLeases(this.#shared))
      .filter(({ labels }) => labels[leaseLabels.use] === 'lease')
      .map(({ id, labels }) => ({
        id: names.idOf(id),
        pinned: labels[leaseLabels.run] === undefined,
        labels: foreignLabels(labels),
      }));
  }
}

export function noLease(id: string) {
  return fail('not-found', 'store', `there is no lease ${JSON.stringify(id)}`, {
    hint: 'The work that it belonged to is over; start it again.',
  });
}

/** All leases of this root, whatever their use. */
export async function ownLeases({ connection, names }: Shared): Promise<Lease[]> {
  const { leases } = await connection.call('listing leases', { again: true }, (call) =>
    connection.leases.list({ filters: [names.filter] }, call),
  );
  return leases;
}

/** Deletes these leases of containerd. With `collect`, what only they kept is collected before this returns. */
export async function deleteLeases(
  { connection }: Shared,
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
