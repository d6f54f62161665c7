/** The names and labels of our leases in a containerd that other programs use too. Pure. */
import { fail } from '../../errors/index.ts';

/** The labels that we put on leases. Labels with our prefix are not shown to callers. */
export const leaseLabels = {
  /** The id of the Drydock root that the lease belongs to. */
  root: 'drydock/root',
  /** The run that the lease ends with; absent on a pinned lease. */
  run: 'drydock/run',
  /**
   * The kind of the lease. `lease`: pinned, made by a caller; `passing`: stands for the callers' leases that end with
   * the run; `view`: keeps snapshots that are being read; `ingest`: keeps half a blob for a resume; `linger`: keeps a
   * blob that nothing refers to for a while.
   */
  use: 'drydock/use',
  /** The time (RFC 3339) at which containerd drops the lease: a safety net, should nobody sweep it. */
  expire: 'containerd.io/gc.expire',
} as const;

/** The life of a lease, longer than any build: a lease cannot be prolonged. */
export const leaseLifeMs = 7 * 24 * 3600_000;
/** The life of a lease that keeps the rest of a broken-off transfer: a day. */
export const ingestLifeMs = 24 * 3600_000;

/** The life of a lease that keeps a blob which took long to make. */
export const lingerLifeMs = 3600_000;

/** The names of one root's leases. Several roots may use one containerd and must not share leases. */
export class LeaseNames {
  readonly rootId: string;
  readonly #prefix: string;

  constructor(rootId: string) {
    this.rootId = rootId;
    this.#prefix = `drydock-${rootId}-`;
  }

  /** containerd's name of our lease. It travels in a header, so it is printable ASCII. */
  of(id: string): string {
    return this.#prefix + id.replaceAll(/[^!-$&-~]/gu, (char) => encodeURIComponent(char));
  }

  /** Our name of a lease in containerd. */
  idOf(name: string): string {
    return decodeURIComponent(name.slice(this.#prefix.length));
  }

  /** The filter that selects all leases of this root. */
  get filter(): string {
    return `labels."${leaseLabels.root}"==${JSON.stringify(this.rootId)}`;
  }

  /**
   * The filters that select the leases of this root which are not kept for good: a run's, and those of lingering blobs.
   * There is a pinned lease for each cache record, and containerd sends a list in one message of a limited size.
   */
  get passing(): string[] {
    return [
      `${this.filter},labels."${leaseLabels.run}"`,
      `${this.filter},labels."${leaseLabels.use}"==linger`,
    ];
  }

  labels(
    use: 'lease' | 'passing' | 'view' | 'ingest' | 'linger',
    life: { run?: string; ms?: number },
    now = Date.now(),
  ): Record<string, string> {
    const labels: Record<string, string> = { [leaseLabels.root]: this.rootId, [leaseLabels.use]: use };
    if (life.run !== undefined) labels[leaseLabels.run] = life.run;
    if (life.ms !== undefined) labels[leaseLabels.expire] = new Date(now + life.ms).toISOString();
    return labels;
  }
}

/** The labels of a lease without those that we put on it. */
export function foreignLabels(labels: Record<string, string>): Record<string, string> {
  const ours = new Set<string>(Object.values(leaseLabels));
  return Object.fromEntries(Object.entries(labels).filter(([name]) => !ours.has(name)));
}

export function noLease(id: string) {
  return fail('not-found', 'store', `there is no lease ${JSON.stringify(id)}`, {
    hint: 'The work that it belonged to is over; start it again.',
  });
}
