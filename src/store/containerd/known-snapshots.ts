import type { Info } from '../../pb/containerd/snapshots_pb.js';
import type { Folders } from './mounts.ts';

/** What was seen of one committed snapshot; it holds as long as that very snapshot is there. */
interface Known {
  /**
   * When it was made, ns since the epoch: another one of the same name is another snapshot. Of one that was just
   * committed, between when and when.
   */
  made: bigint | { from: bigint; to: bigint };
  folders?: Folders;
  usage?: { size: number; inodes: number };
  /** As containerd had it last. Others may have given it labels since. */
  info?: Info;
  /** When the one it stands on was made. */
  parentMade?: bigint;
}

/** So many are remembered. */
const most = 5_000;

/** What this process knows of containerd's snapshots, so that it need not ask again. */
export class KnownSnapshots {
  readonly #all = new Map<string, Known>();

  /** What is known of the committed snapshot that containerd has. */
  of(info: Info): Known {
    const made = madeAt(info);
    const found = this.#all.get(info.name);
    if (found !== undefined && wasMade(found, made)) {
      found.made = made;
      found.info = info;
      return found;
    }
    return this.#put(info.name, { made, info });
  }

  /** Notes a snapshot that was committed between two times (ns since the epoch). */
  committed(key: string, folders: Folders, made: { from: bigint; to: bigint }): void {
    this.#put(key, { made, folders });
  }

  /** What was last known under a name; it may be of one that is gone. */
  last(key: string): Known | undefined {
    return this.#all.get(key);
  }

  /** What a committed snapshot stands on: it cannot have gone, or become another one, before that. */
  parentOf(info: Info): Info | undefined {
    const { parentMade } = this.of(info);
    const parent = this.#all.get(info.parent);
    return parentMade !== undefined && parent?.made === parentMade ? parent.info : undefined;
  }

  /** Notes what a committed snapshot stands on. */
  setParent(info: Info, parent: Info): void {
    this.of(info).parentMade = madeAt(parent);
    this.of(parent);
  }

  /** Notes labels that were set or (undefined) taken away. */
  labelled(key: string, labels: Record<string, string | undefined>): void {
    const info = this.#all.get(key)?.info;
    if (info === undefined) return;
    for (const [name, value] of Object.entries(labels)) {
      if (value === undefined) delete info.labels[name];
      else info.labels[name] = value;
    }
  }

  forget(key: string): void {
    this.#all.delete(key);
  }

  #put(key: string, known: Known): Known {
    this.#all.delete(key);
    this.#all.set(key, known);
    for (const oldest of this.#all.keys()) {
      if (this.#all.size <= most) break;
      this.#all.delete(oldest);
    }
    return known;
  }
}

function madeAt({ createdAt }: Info): bigint {
  return createdAt === undefined ? 0n : createdAt.seconds * 1_000_000_000n + BigInt(createdAt.nanos);
}

function wasMade({ made }: Known, at: bigint): boolean {
  return typeof made === 'bigint' ? made === at : made.from <= at && at <= made.to;
}

/** This host's clock, which is containerd's too, ns since the epoch; to the ms, `later` rounded up. */
export function nowNs(later = 0): bigint {
  return BigInt(Date.now() + later) * 1_000_000n;
}
