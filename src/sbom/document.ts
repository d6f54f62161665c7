/** What a bill of materials says besides the packages, and how it is written in pieces. */
import { createHash } from 'node:crypto';
import type { Inventory } from './inventory.ts';

/** The facts about one bill of materials. */
export interface DocumentFacts {
  /** The name of the tree. */
  name: string;
  /** ms since the epoch */
  createdAt: number;
  /** The version of this program. */
  version: string;
}

/** A UUID that stands for exactly this bill: the same tree at the same time has the same one. */
export function uuidOf({ components, files }: Inventory, { name, createdAt }: DocumentFacts): string {
  const hash = createHash('sha256').update(`${name}\0${createdAt}\0`);
  for (const { purl } of components) hash.update(`${purl}\0`);
  for (const { path, sha1 } of files) hash.update(`${path}\0${sha1}\0`);
  const hex = hash.digest('hex');
  // Version 8: made of what its maker chooses.
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** A short identifier of a text. */
export function shortId(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 20);
}

/** Yields `"name": [a, b]` with each item as JSON of its own. */
export function* listJson(name: string, items: Iterable<object>): Generator<string, void> {
  yield `${JSON.stringify(name)}:[`;
  let comma = '';
  for (const item of items) {
    yield `${comma}${JSON.stringify(item)}`;
    comma = ',';
  }
  yield ']';
}

/** The members of an object, without its braces. */
export function membersJson(object: object): string {
  return JSON.stringify(object).slice(1, -1);
}

/** Time in seconds, as both formats want it: `2026-01-02T03:04:05Z`. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
