import { Code } from '@connectrpc/connect';
import { DrydockError } from '../../errors/index.ts';
import { inParallel } from '../../flow/index.ts';
import { Bundle, keyOf, type Thing, worthBundling } from './bundle.ts';
import { hasCode } from './errors.ts';
import { leaseLifeMs, noLease } from './lease-names.ts';
import type { ContainerdParts } from './shared.ts';

/** A thing that one or more of our leases hold. */
interface HeldThing {
  thing: Thing;
  /** The bundle that holds the thing for the group; undefined when the group's lease names the thing itself. */
  bundle: Bundle | undefined;
  /** The number of our leases that hold the thing. */
  users: number;
  /** Resolves when containerd has been told of the thing. */
  known: Promise<void>;
  /** Whether containerd has been told. */
  told: boolean;
  /** Whether the thing was seen to be there since it is held. */
  seen: boolean;
}

/** A thing of which containerd is to be told in a moment, with others that are to be held just then. */
interface Telling {
  hold: HeldThing;
  done: PromiseWithResolvers<void>;
}

/** One lease in containerd that stands for all of our leases made at about the same time. */
interface Group {
  /** The name of the lease in containerd. */
  name: string;
  /** ms since the epoch */
  made: number;
  ready: Promise<void>;
  leases: number;
  /** Ends a group that has no leases; undefined while it has some. */
  resting: NodeJS.Timeout | undefined;
  held: Map<string, HeldThing>;
  /** Things that containerd is being told to release. */
  leaving: Map<string, Promise<void>>;
  telling: Telling[];
}

interface Lease {
  group: Group;
  labels: Record<string, string>;
  things: Map<string, Thing>;
}

/**
 * How long a group takes in new leases, ms, and how long it stays in any case. A thing of an ended lease stays at least
 * until then and until the group's last lease ends. Builds that follow each other find what they hold held already.
 */
const openMs = 10_000;

/**
 * The leases that end with this process. A build makes many short-lived ones, and each change of a lease is a
 * synchronous write in containerd. So these leases are kept in memory here; containerd sees one lease for all that were
 * made within a few seconds, and is told of each thing once. Things that only ended leases held are released some seconds
 * after the last lease of the group, or by `flush`.
 */
export class PassingLeases {
  readonly #shared: Omit<ContainerdParts, 'passing'>;
  readonly #leases = new Map<string, Lease>();
  readonly #groups = new Set<Group>();
  /** containerd's names of groups that are to be deleted as soon as containerd is back. */
  readonly #owed = new Set<string>();
  #open: Group | undefined;
  #count = 0;

  constructor(shared: Omit<ContainerdParts, 'passing'>) {
    this.#shared = shared;
  }

  has(id: string): boolean {
    return this.#leases.has(id);
  }

  /** containerd's name of the lease under which a call must be made. */
  nameOf(id: string): string | undefined {
    return this.#leases.get(id)?.group.name;
  }

  /** The labels of a lease; undefined when there is none. */
  labels(id: string): Readonly<Record<string, string>> | undefined {
    return this.#leases.get(id)?.labels;
  }

  /** Makes a lease. Making one again is no error. */
  async create(id: string, labels: Record<string, string>): Promise<void> {
    await this.#deleteOwed();
    const known = this.#leases.get(id);
    if (known !== undefined) {
      Object.assign(known.labels, labels);
      return known.group.ready;
    }
    const group = this.#openGroup();
    group.leases++;
    clearTimeout(group.resting);
    group.resting = undefined;
    const lease: Lease = { group, labels: { ...labels }, things: new Map() };
    this.#leases.set(id, lease);
    try {
      await group.ready;
    } catch (err) {
      if (this.#leases.get(id) === lease) this.#leases.delete(id);
      throw err;
    }
  }

  #openGroup(): Group {
    const now = Date.now();
    if (this.#open !== undefined && now - this.#open.made < openMs) return this.#open;
    const { connection, names, run } = this.#shared;
    const name = names.of(`run-${run.id}-${++this.#count}`);
    const labels = names.labels('passing', { run: run.id, ms: leaseLifeMs });
    const ready = connection.call('making a lease', { again: true }, async (call) => {
      try {
        await connection.leases.create({ id: name, labels }, call);
      } catch (err) {
        if (!hasCode(err, Code.AlreadyExists)) throw err;
      }
    });
    const group: Group = {
      name,
      made: now,
      ready,
      leases: 0,
      resting: undefined,
      held: new Map(),
      leaving: new Map(),
      telling: [],
    };
    this.#open = group;
    this.#groups.add(group);
    ready.catch(() => this.#drop(group));
    return group;
  }

  #drop(group: Group): void {
    if (this.#open === group) this.#open = undefined;
    this.#groups.delete(group);
  }

  /** Adds a thing, which need not exist. Throws `not-found` when there is no such lease. */
  async add(id: string, thing: Thing): Promise<void> {
    await this.#hold(id, thing, (group, hold) => this.#tellSoon(group, hold));
  }

  /** Adds things, which need not exist. Throws as `add` does. */
  async addAll(id: string, things: readonly Thing[]): Promise<void> {
    await Promise.all(things.map((thing) => this.add(id, thing)));
  }

  /** Notes a thing that a call made under the lease has put there. */
  async took(id: string, thing: Thing): Promise<void> {
    if (!this.has(id)) return;
    await this.#hold(id, thing, (group) => {
      // The thing is being released at this moment, and containerd may do that last.
      return group.leaving.has(keyOf(thing)) ? this.#tell(group, thing) : Promise.resolve();
    });
    this.saw(id, thing);
  }

  /** Notes that a thing was there after the lease held it. */
  saw(id: string, thing: Thing): void {
    const hold = this.#leases.get(id)?.group.held.get(keyOf(thing));
    if (hold !== undefined) hold.seen = true;
  }

  /** Notes that a thing is no more, by this process's doing. */
  removed(thing: Thing): void {
    const key = keyOf(thing);
    for (const { held } of this.#groups) {
      const hold = held.get(key);
      if (hold !== undefined) hold.seen = false;
    }
  }

  /** Whether a thing was seen to be there while containerd was, and still is, told to keep it. */
  isThere(thing: Thing): boolean {
    const key = keyOf(thing);
    for (const { held } of this.#groups) {
      const hold = held.get(key);
      if (hold?.told === true && hold.seen) return true;
    }
    return false;
  }

  async #hold(
    id: string,
    thing: Thing,
    tell: (group: Group, hold: HeldThing) => Promise<void>,
  ): Promise<void> {
    const lease = this.#leases.get(id);
    if (lease === undefined) throw noLease(id);
    const { group, things } = lease;
    const key = keyOf(thing);
    let hold = group.held.get(key);
    if (hold === undefined) {
      hold = { thing, bundle: undefined, users: 0, known: Promise.resolve(), told: false, seen: false };
      hold.known = tell(group, hold);
      group.held.set(key, hold);
    }
    if (!things.has(key)) {
      things.set(key, thing);
      hold.users++;
    }
    try {
      await hold.known;
      hold.told = true;
    } catch (err) {
      if (group.held.get(key) === hold) group.held.delete(key);
      things.delete(key);
      throw err;
    }
  }

  /** Tells containerd of a thing together with those that come in the same turn of the event loop. */
  #tellSoon(group: Group, hold: HeldThing): Promise<void> {
    if (group.telling.length === 0) setImmediate(() => this.#tellAll(group, group.telling.splice(0)));
    const done = Promise.withResolvers<void>();
    group.telling.push({ hold, done });
    return done.promise;
  }

  #tellAll(group: Group, telling: readonly Telling[]): void {
    if (telling.length < worthBundling) {
      for (const { hold, done } of telling) this.#tell(group, hold.thing).then(done.resolve, done.reject);
      return;
    }
    const things = telling.map(({ hold }) => hold.thing);
    const bundle = Bundle.of(this.#shared, things);
    for (const { hold } of telling) hold.bundle = bundle;
    const left = Promise.all(things.map((thing) => group.leaving.get(keyOf(thing))?.catch(() => {})));
    const made = left.then(() => bundle.make(group.name));
    for (const { done } of telling) made.then(done.resolve, done.reject);
  }

  async #tell(group: Group, resource: Thing): Promise<void> {
    const { connection } = this.#shared;
    await group.leaving.get(keyOf(resource))?.catch(() => {});
    await connection.call(`keeping ${resource.id}`, { again: true }, (call) =>
      connection.leases.addResource({ id: group.name, resource }, call),
    );
  }

  /**
   * Takes a thing off a lease. The thing is released unless another lease holds it. No error when the lease does not
   * hold it.
   */
  remove(id: string, thing: Thing): void {
    const lease = this.#leases.get(id);
    if (lease !== undefined) this.#letGo(lease, keyOf(thing));
  }

  #letGo({ group, things }: Lease, key: string): void {
    if (!things.delete(key)) return;
    const hold = group.held.get(key);
    if (hold !== undefined) hold.users--;
  }

  /** Whether a lease holds a thing and containerd has been told so. */
  holds(id: string, thing: Thing): boolean {
    const lease = this.#leases.get(id);
    const key = keyOf(thing);
    return lease?.things.has(key) === true && lease.group.held.get(key)?.told === true;
  }

  /**
   * Whether containerd has been told of a thing that the lease, or another lease of its group, holds or has just held.
   */
  isTold(id: string, thing: Thing): boolean {
    return this.#leases.get(id)?.group.held.get(keyOf(thing))?.told === true;
  }

  things(id: string): Thing[] {
    return [...(this.#leases.get(id)?.things.values() ?? [])];
  }

  /** Ends a lease. containerd is told when nothing more is held in its place for a while. */
  delete(id: string): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#leases.delete(id);
    const { group } = lease;
    for (const key of [...lease.things.keys()]) this.#letGo(lease, key);
    if (--group.leases > 0) return;
    const rest = Math.max(0, group.made + openMs - Date.now());
    group.resting = setTimeout(() => void this.#end(group).catch(() => {}), rest).unref();
  }

  /** Ends a group without leases. `unavailable` is no failure: containerd is told when it is back. */
  async #end(group: Group): Promise<void> {
    clearTimeout(group.resting);
    this.#drop(group);
    try {
      await this.#deleteNow(group.name);
    } catch (err) {
      if (!(err instanceof DrydockError) || err.code !== 'unavailable') throw err;
      this.#owed.add(group.name);
    }
  }

  async #deleteNow(name: string): Promise<void> {
    const { connection } = this.#shared;
    await connection.find('deleting a lease', (call) => connection.leases.delete({ id: name }, call));
  }

  async #deleteOwed(): Promise<void> {
    for (const name of this.#owed) {
      await this.#deleteNow(name);
      this.#owed.delete(name);
    }
  }

  /** Releases all things that no lease holds any more. */
  async flush(): Promise<void> {
    const idle: { group: Group; bundle: Bundle | undefined; things: Thing[] }[] = [];
    const ended: Promise<void>[] = [];
    for (const group of this.#groups) {
      if (group.leases === 0) {
        ended.push(this.#end(group));
        continue;
      }
      const bundles = new Map<Bundle, Thing[]>();
      for (const { users, thing, bundle, told } of group.held.values()) {
        if (users > 0 || !told) continue;
        const others = bundle === undefined ? undefined : bundles.get(bundle);
        if (others !== undefined) {
          others.push(thing);
          continue;
        }
        const things = [thing];
        idle.push({ group, bundle, things });
        if (bundle !== undefined) bundles.set(bundle, things);
      }
    }
    await Promise.all([
      ...ended,
      inParallel(idle, ({ group, bundle, things }) => this.#leave(group, bundle, things)),
    ]);
  }

  /** Releases things of one bundle, or one thing without a bundle; those that a lease holds again stay. */
  async #leave(group: Group, bundle: Bundle | undefined, things: readonly Thing[]): Promise<void> {
    const { connection } = this.#shared;
    const idle = things.filter((thing) => group.held.get(keyOf(thing))?.users === 0);
    const [first] = idle;
    if (first === undefined) return;
    const gone =
      bundle?.drop(idle) ??
      connection
        .find(`letting go of ${first.id}`, (call) =>
          connection.leases.deleteResource({ id: group.name, resource: first }, call),
        )
        .then(() => {});
    const keys = idle.map(keyOf);
    for (const key of keys) {
      group.held.delete(key);
      group.leaving.set(key, gone);
    }
    try {
      await gone;
    } finally {
      for (const key of keys) group.leaving.delete(key);
    }
  }

  list(): { id: string; labels: Record<string, string> }[] {
    return [...this.#leases].map(([id, { labels }]) => ({ id, labels: { ...labels } }));
  }
}
