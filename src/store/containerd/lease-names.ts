/** How our leases are named and marked in a containerd, which others use too. Pure. */
import { fail } from '../../errors/index.ts';

/** Our labels on leases. What begins so is not shown to callers. */
export const leaseLabels = {
  /** Which Drydock root the lease belongs to. */
  root: 'drydock/root',
  /** The run that it dies with; none on a pinned lease. */
  run: 'drydock/run',
  /**
   * `lease`: made by a caller, pinned; `passing`: for those a caller made that end with the run; `view`: keeps what is
   * being read; `ingest`: keeps half a blob for a resume.
   */
  use: 'drydock/use',
  /** containerd drops the lease at this time: a net, should nobody come to sweep it. RFC 3339 */
  expire: 'containerd.io/gc.expire',
} as const;

/** Longer than any build; a lease cannot be prolonged. */
export const leaseLifeMs = 7 * 24 * 3600_000;
/** What is left of a broken-off transfer is kept for a day. */
export const ingestLifeMs = 24 * 3600_000;

/** Names of one root's leases: several roots may use one containerd and must not share leases. */
export class LeaseNames {
  readonly rootId: string;
  readonly #prefix: string;

  constructor(rootId: string) {
    this.rootId = rootId;
    this.#prefix = `drydock-${rootId}-`;
  }

  /** containerd's name of our lease; it travels in a header, so it is printable ASCII. */
  of(id: string): string {
    return this.#prefix + id.replaceAll(/[^!-$&-~]/gu, (char) => encodeURIComponent(char));
  }

  /** Our name of containerd's lease. */
  idOf(name: string): string {
    return decodeURIComponent(name.slice(this.#prefix.length));
  }

  /** Filter for all leases of this root. */
  get filter(): string {
    return `labels."${leaseLabels.root}"==${JSON.stringify(this.rootId)}`;
  }

  labels(
    use: 'lease' | 'passing' | 'view' | 'ingest',
    life: { run?: string; ms?: number },
    now = Date.now(),
  ): Record<string, string> {
    const labels: Record<string, string> = { [leaseLabels.root]: this.rootId, [leaseLabels.use]: use };
    if (life.run !== undefined) labels[leaseLabels.run] = life.run;
    if (life.ms !== undefined) labels[leaseLabels.expire] = new Date(now + life.ms).toISOString();
    return labels;
  }
}

/** The labels of a lease without our own. */
export function foreignLabels(labels: Record<string, string>): Record<string, string> {
  const ours = new Set<string>(Object.values(leaseLabels));
  return Object.fromEntries(Object.entries(labels).filter(([name]) => !ours.has(name)));
}

export function noLease(id: string) {
  return fail('not-found', 'store', `there is no lease ${JSON.stringify(id)}`, {
    hint: 'The work that it belonged to is over; start it again.',
  });
}
