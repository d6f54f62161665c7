/**
 * What CNI plugins made for the steps of a process, written down: only the plugins can take it back, and the next process
 * on the root has them do it for one that was killed.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeFd, openLock, tryLock } from '../linux/index.ts';
import { runTask } from '../workers/index.ts';
import { leasedAddresses, resultOf } from './cni-leases.ts';
import { type CniConfig, type CniResult, deleteCni } from './cni-plugins.ts';

interface CniRecord {
  config: CniConfig;
  binaryPath: string;
  /** Of the plugins that have answered. */
  result?: CniResult;
}

/** How long a sweep waits for the plugins of a process that was killed, ms. */
const patience = 20_000;

/** The records of this process. A file of its own, which it keeps locked, says that it lives. */
export class CniRecords {
  readonly #folder: string;
  readonly #owner = randomUUID();
  readonly #life: number;
  #last = 0;
  /**
   * A locked file. Plugins get the descriptor, so that it stays locked for as long as one of them runs, also when this
   * process has been killed.
   */
  readonly calls: number;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
    const path = this.#path('owner');
    let life = openLock(path);
    // A sweep of another process may just have taken the new file away.
    while (!tryLock(life) || !existsSync(path)) {
      closeFd(life);
      life = openLock(path);
    }
    this.#life = life;
    this.calls = openLock(this.#path('calls'));
    tryLock(this.calls);
  }

  #path(kind: string): string {
    return join(this.#folder, `${this.#owner}.${kind}`);
  }

  /** Begins the record of one more container. It is there before a plugin is asked. */
  add(of: Pick<CniRecord, 'config' | 'binaryPath'>): {
    containerId: string;
    write(result?: CniResult): void;
    remove(): void;
  } {
    const number = ++this.#last;
    const file = join(this.#folder, `${this.#owner}-${number}.json`);
    const write = (result?: CniResult) => {
      // Never half of it: nobody could take back what it says.
      writeFileSync(`${file}.new`, JSON.stringify({ ...of, result } satisfies CniRecord), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    };
    write();
    return {
      containerId: containerIdOf(this.#owner, number),
      write,
      remove: () => rmSync(file, { force: true }),
    };
  }

  /** Ends this process's part. Records that are still there are the next process's to take back. */
  close(): void {
    const hasLeft = recordsOf(this.#folder, this.#owner).length > 0;
    for (const fd of [this.calls, this.#life]) closeFd(fd);
    if (!hasLeft) for (const kind of ['calls', 'owner']) rmSync(this.#path(kind), { force: true });
  }
}

function containerIdOf(owner: string, number: number | string): string {
  return `drydock-${owner}-${number}`;
}

/** The names of an owner's records. */
function recordsOf(folder: string, owner: string): string[] {
  return readdirSync(folder).filter((name) => name.startsWith(`${owner}-`) && name.endsWith('.json'));
}

/** Disconnects the namespaces of processes that died. What a plugin fails to take back now, the next start tries again. */
export async function sweepCni(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.owner'))) {
    const owner = name.slice(0, -'.owner'.length);
    const life = openLock(join(folder, name));
    try {
      if (tryLock(life)) await sweepOwner(folder, owner);
    } finally {
      closeFd(life);
    }
  }
}

async function sweepOwner(folder: string, owner: string): Promise<void> {
  const path = (kind: string) => join(folder, `${owner}.${kind}`);
  const calls = openLock(path('calls'));
  try {
    // A plugin that was at work when its process was killed goes on, and makes more.
    for (const until = performance.now() + patience; !tryLock(calls); await sleep(20)) {
      if (performance.now() > until) return;
    }
    let isAll = true;
    for (const record of recordsOf(folder, owner)) isAll = (await takeBack(folder, owner, record)) && isAll;
    if (!isAll) return;
    for (const left of readdirSync(folder)) {
      if (left.startsWith(`${owner}-`)) rmSync(join(folder, left), { force: true });
    }
    for (const kind of ['calls', 'owner']) rmSync(path(kind), { force: true });
  } finally {
    closeFd(calls);
  }
}

/**
 * Has the plugins take back what a record says; false when one of them fails. The namespace itself went with its process,
 * and plugins such as `bridge` take their rules back by the addresses that they find in one: so they get another with the
 * same addresses.
 */
async function takeBack(folder: string, owner: string, record: string): Promise<boolean> {
  try {
    const text = readFileSync(join(folder, record), 'utf8');
    const { config, binaryPath, result } = JSON.parse(text) as CniRecord;
    const containerId = containerIdOf(owner, record.slice(owner.length + 1, -'.json'.length));
    const told = result?.ips?.map(({ address }) => address.split('/')[0] ?? '');
    const addresses = told ?? leasedAddresses(config, containerId);
    const fd = await runTask('network.standIn', addresses, { waits: true });
    const netns = `/proc/${process.pid}/fd/${fd}`;
    const known = told === undefined ? resultOf(config, addresses, netns) : result;
    await deleteCni(config, { containerId, netns, binaryPath }, known).finally(() => closeFd(fd));
    rmSync(join(folder, record), { force: true });
    return true;
  } catch {
    return false;
  }
}
