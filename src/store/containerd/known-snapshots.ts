import type { Info } from '../../pb/containerd/snapshots_pb.js';
import type { Folders } from './mounts.ts';

/** The facts seen of one committed snapshot. They hold as long as that very snapshot exists. */
interface Known {
  /**
   * The snapshot's creation time, ns since the epoch: a snapshot of the same name with another time is another
   * snapshot. For one that was just committed, the bounds of that time.
   */
  made: bigint | { from: bigint; to: bigint };
  folders?: Folders;
  usage?: { size: number; inodes: number };
  /** The snapshot as containerd told it last. Others may have labelled it since. */
  info?: Info;
  /** The creation time of its parent. */
  parentMade?: bigint;
}

/** The number of snapshots that are remembered. */
const most = 5_000;

/** The facts about containerd's snapshots that this process knows and need not ask for again. */
export class KnownSnapshots {
  readonly #all = new Map<string, Known>();

  /** The facts about the committed snapshot that containerd has just described. */
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

  /** The last facts noted under a name; their snapshot may be gone. */
  last(key: string): Known | undefined {
    return this.#all.get(key);
  }

  /** The parent of a committed snapshot. It cannot have gone, or been replaced, before its child. */
  parentOf(info: Info): Info | undefined {
    const { parentMade } = this.of(info);
    const parent = this.#all.get(info.parent);
    return parentMade !== undefined && parent?.made === parentMade ? parent.info : undefined;
  }

  /** Notes the parent of a committed snapshot. */
  setParent(info: Info, parent: Info): void {
    this.of(info).parentMade = madeAt(parent);
    this.of(parent);
  }

  /** Notes labels that were set or, when undefined, removed. */
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
