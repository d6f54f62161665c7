/**
 * The owners of cgroups: each running process has a file, which it locks as long as it lives. A file that can be locked
 * is of a process that died; its cgroups are killed and removed.
 */
import { randomUUID } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { inUserNamespace, tryLock } from '../linux/index.ts';
import { type CgroupHost, killGroup, removeGroup } from './cgroups.ts';
import { sweepProcesses } from './process-sandbox.ts';

/**
 * This process as the owner of cgroups. It registers before the first container, names each container's group, and is
 * released when no step is run any more.
 */
export class Owner {
  /** The beginning of the names of this process's cgroups. */
  readonly name = randomUUID();
  readonly #file: string;
  readonly #fd: number;
  readonly #trees: readonly string[];
  readonly #base: string;
  readonly #parents = new Set<string>();
  readonly #onExit = () => this.release();

  /** Sweeps the cgroups of dead processes, then registers this one. */
  constructor(stateDir: string, host: CgroupHost) {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    sweep(stateDir, host.trees);
    this.#trees = host.trees;
    this.#base = host.base;
    this.#file = join(stateDir, `${this.name}.owner`);
    this.#fd = openSync(this.#file, 'ax', 0o600);
    tryLock(this.#fd);
    process.once('exit', this.#onExit);
  }

  /**
   * The cgroup of a container: below `buildkit` in the parent that was asked for, where BuildKit makes its own and
   * monitors look for them. The parent is noted first, so that a sweep finds it.
   */
  group(parent: string, id: string): string {
    const folder = join('/', this.#base, parent === '' ? 'drydock' : join(parent, 'buildkit'));
    if (!this.#parents.has(folder)) {
      appendFileSync(this.#fd, `${folder}\n`);
      this.#parents.add(folder);
    }
    return join(folder, `${this.name}-${id}`);
  }

  /** Gives the registration up, once. Cgroups that are still in use keep their names. */
  release(): void {
    process.off('exit', this.#onExit);
    try {
      if (leftovers(this.#trees, [...this.#parents], this.name).length === 0) unlinkSync(this.#file);
      closeSync(this.#fd);
    } catch {
      // The next start sweeps it.
    }
  }
}

/** The groups below these parents whose names begin with an owner's name. */
function leftovers(trees: readonly string[], parents: readonly string[], owner: string): string[] {
  const groups = new Set<string>();
  for (const parent of parents) {
    for (const tree of trees) {
      const dir = join(tree, parent);
      if (!existsSync(dir)) continue;
      for (const name of readdirSync(dir)) if (name.startsWith(`${owner}-`)) groups.add(join(parent, name));
    }
  }
  return [...groups];
}

/** Kills and removes the cgroups of processes that died. */
function sweep(stateDir: string, trees: readonly string[]): void {
  for (const name of readdirSync(stateDir)) {
    if (!name.endsWith('.owner')) continue;
    const file = join(stateDir, name);
    let fd: number;
    try {
      fd = openSync(file, 'r');
    } catch {
      continue;
    }
    try {
      // Not one that is being made just now, and not one that another sweep has taken away.
      if (!tryLock(fd) || Date.now() - fstatSync(fd).ctimeMs < 50) continue;
      if (statSync(file, { throwIfNoEntry: false }) === undefined) continue;
      let gone = true;
      const parents = readFileSync(fd, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('/'));
      if (inUserNamespace()) sweepProcesses(name.slice(0, -'.owner'.length));
      for (const group of leftovers(trees, parents, name.slice(0, -'.owner'.length))) {
        killGroup(trees, group);
        gone = removeGroup(trees, group) && gone;
      }
      if (gone) unlinkSync(file);
    } catch {
      // Left for the next sweep.
    } finally {
      closeSync(fd);
    }
  }
}
