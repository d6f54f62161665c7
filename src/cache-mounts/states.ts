/**
 * What a cache mount was when it was last exported or brought here, in files beside it (`exported/`): the layers that
 * hold it, where they were put, and a list of its files, by which the next export finds what has changed since. A state
 * is written in full or not at all; one that cannot be read is none.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Descriptor, type Digest, digestOf, hex, isDigest } from '../oci/index.ts';

/** A layer of a mount. */
export interface MountLayer {
  descriptor: Descriptor;
  diffId: Digest;
}

export interface MountState {
  /** The place of the layers, `registry:reg.example/app:cache` or `local:/folder`. */
  target: string;
  /** When the mount was in this state, ms since the epoch. */
  at: number;
  /** The folder itself. */
  root: { mode: number; uid: number; gid: number };
  /** Lowest first. */
  layers: readonly MountLayer[];
  /** The path of the list. */
  list: string;
}

/** So many states are kept, each for another place. */
const mostStates = 4;

/** The states of an instance, newest first. */
export function statesOf(instance: string): MountState[] {
  const dir = join(instance, 'exported');
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => stateIn(dir, name) ?? [])
    .sort((a, b) => b.at - a.at);
}

/** The path for a new list of an instance. */
export function newList(instance: string): string {
  const dir = join(instance, 'exported');
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return join(dir, `${randomUUID()}.list`);
}

/** Keeps a state, in the place of the last one for its target. Nobody else may be doing so: the instance is held. */
export function saveState(instance: string, { target, at, root, layers, list }: MountState): void {
  const dir = join(instance, 'exported');
  const file = join(dir, `${hex(digestOf(target)).slice(0, 16)}.json`);
  const text = JSON.stringify({ target, at, root, layers, list: list.slice(dir.length + 1) });
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  const kept = statesOf(instance).slice(0, mostStates);
  const names = new Set(
    kept.flatMap((state) => [state.list, join(dir, `${hex(digestOf(state.target)).slice(0, 16)}.json`)]),
  );
  for (const name of readdirSync(dir))
    if (!names.has(join(dir, name))) rmSync(join(dir, name), { force: true });
}

function stateIn(dir: string, name: string): MountState | undefined {
  try {
    const { target, at, root, layers, list } = JSON.parse(readFileSync(join(dir, name), 'utf8'));
    if (typeof target !== 'string' || typeof at !== 'number' || !/^[\w-]+\.list$/.test(list))
      return undefined;
    const isLayer = ({ descriptor, diffId }: MountLayer) => isDigest(descriptor.digest) && isDigest(diffId);
    if (
      typeof root?.mode !== 'number' ||
      !(layers as MountLayer[]).every(isLayer) ||
      !existsSync(join(dir, list))
    )
      return undefined;
    return { target, at, root, layers, list: join(dir, list) };
  } catch {
    return undefined;
  }
}
