/**
 * The snapshots that this process reads. A lease of its own holds them, so that containerd does not collect them
 * meanwhile.
 */
import { Code } from '@connectrpc/connect';
import { inParallel } from '../../flow/index.ts';
import { hasCode } from './errors.ts';
import { leaseLabels, leaseLifeMs } from './lease-names.ts';
import { ownLeases } from './leases.ts';
import type { ContainerdParts } from './shared.ts';

interface Held {
  readers: number;
  lease: string;
  /** Resolves when containerd has been told. */
  known: Promise<void>;
}

/** How long a snapshot stays held after its last reader, ms: most snapshots are read again soon. */
const lingerMs = 5_000;
/** A lease cannot be prolonged, so a long-lived process takes a new one each day. */
const renewMs = 24 * 3600_000;

/** The snapshots held for this process's readers. */
export class Views {
  readonly #shared: ContainerdParts;
  readonly #held = new Map<string, Held>();
  #lease: { name: string; made: number; ready: Promise<void> } | undefined;
  #leases = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(shared: ContainerdParts) {
    this.#shared = shared;
  }

  /** containerd's name of the lease for the snapshots that are read now. */
  async lease(): Promise<string> {
    const now = Date.now();
    if (this.#lease === undefined || now - this.#lease.made > renewMs) {
      const { connection, names, run } = this.#shared;
      const name = names.of(`view-${run.id}-${++this.#leases}`);
      const labels = names.labels('view', { run: run.id, ms: leaseLifeMs });
      const ready = connection.call('making a lease', { again: true }, async (call) => {
        try {
          await connection.leases.create({ id: name, labels }, call);
        } catch (err) {
          if (!hasCode(err, Code.AlreadyExists)) throw err;
        }
      });
      this.#lease = { name, made: now, ready };
      ready.catch(() => {
        if (this.#lease?.ready === ready) this.#lease = undefined;
      });
    }
    const { name, ready } = this.#lease;
    await ready;
    return name;
  }

  /**
   * Holds a snapshot until `release` has been called as often. The caller checks afterwards that the snapshot exists.
   */
  async hold(key: string): Promise<void> {
    let held = this.#held.get(key);
    if (held === undefined) {
      const made: Held = { readers: 0, lease: '', known: Promise.resolve() };
      made.known = this.#add(key, made);
      made.known.catch(() => this.#held.delete(key));
      this.#held.set(key, made);
      held = made;
    }
    held.readers++;
    await held.known;
  }

  async #add(key: string, held: Held): Promise<void> {
    const { connection } = this.#shared;
    held.lease = await this.lease();
    await connection.call(`keeping the snapshot ${key}`, { again: true }, (call) =>
      connection.leases.addResource({ id: held.lease, resource: this.#resource(key) }, call),
    );
  }

  release(key: string): void {
    const held = this.#held.get(key);
    if (held === undefined || held.readers === 0) return;
    held.readers--;
    if (held.readers > 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.flush().catch(() => {}); // the lease goes when this process does
    }, lingerMs);
    this.#timer.unref();
  }

  /** Releases the snapshots (or only one of them) that nobody reads any more. */
  async flush(only?: string): Promise<void> {
    const { connection } = this.#shared;
    const idle = [...this.#held].filter(
      ([key, { readers }]) => readers === 0 && (only === undefined || key === only),
    );
    for (const [key] of idle) this.#held.delete(key);
    await inParallel(idle, async ([key, { lease, known }]) => {
      await known.catch(() => {});
      if (lease === '') return;
      await connection.find(`letting go of the snapshot ${key}`, (call) =>
        connection.leases.deleteResource({ id: lease, resource: this.#resource(key) }, call),
      );
      // A reader came for the snapshot while it was being released.
      const again = this.#held.get(key);
      if (again !== undefined) {
        await again.known;
        await connection.call(`keeping the snapshot ${key}`, { again: true }, (call) =>
          connection.leases.addResource({ id: again.lease, resource: this.#resource(key) }, call),
        );
      }
    });
  }

  /** Whether this or another process is reading a snapshot. */
  async isRead(key: string): Promise<boolean> {
    if ((this.#held.get(key)?.readers ?? 0) > 0) return true;
    await this.flush(key);
    const { connection, run } = this.#shared;
    const others = (await ownLeases(this.#shared, 'passing')).filter(
      ({ labels }) => labels[leaseLabels.use] === 'view' && labels[leaseLabels.run] !== run.id,
    );
    const { id, type } = this.#resource(key);
    const found = await inParallel(others, async (lease) => {
      const held = await connection.find('reading a lease', (call) =>
        connection.leases.listResources({ id: lease.id }, call),
      );
      return held?.resources.some((resource) => resource.id === id && resource.type === type) === true;
    });
    return found.includes(true);
  }

  #resource(key: string): { id: string; type: string } {
    return { id: key, type: `snapshots/${this.#shared.snapshotter}` };
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
