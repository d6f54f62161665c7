/** What every part of the bench is given. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export interface Bench {
  /** This part's folder, empty at first, removed in the end. */
  readonly folder: string;
  /** Runs per scenario; medians are of these. */
  readonly runs: number;
  /** Whether the large sizes are wanted, which take an hour. */
  readonly heavy: boolean;
  /** Whether the small sizes alone are wanted, once each, so that all parts together take less than half an hour. */
  readonly quick: boolean;
  /** Only scenarios with this in their name. */
  readonly only: string | undefined;
  /** Has something done in the end, however the part ends; what was asked for last comes first. */
  atEnd(undo: () => void | Promise<void>): void;
}

/** Does the work and gives the tables, as Markdown. */
export type Part = (bench: Bench) => Promise<string>;

/** Empties a folder of the bench, or makes it. */
export function fresh(path: string): string {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  return path;
}

/** A new empty folder of the bench. */
export function folderOf(bench: Bench, name: string): string {
  return fresh(join(bench.folder, name));
}

export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The bundle of this clone, as a command. */
export const drydockCommand = new URL('../bin/drydock', import.meta.url).pathname;

/** That of another clone, which is then the one peer: a change is measured beside the code before it, in one run. */
export const commandBefore =
  process.env.DRYDOCK_BEFORE === undefined ? undefined : join(process.env.DRYDOCK_BEFORE, 'bin/drydock');
