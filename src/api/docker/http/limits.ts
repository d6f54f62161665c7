/**
 * What one request may hold, where reading or using it would otherwise take long on the thread that serves everybody.
 * No client comes near to these; whoever does gets a 400 that names the limit. The whole head of a request, with its
 * query, is at most 1 MiB (`daemon/connections.ts`), as is a JSON body. Pure.
 */
import { jsonExcess } from '../../../oci/index.ts';
import { apiError } from './errors.ts';

/** Also bounded where they are used: options (`checkOptionsSize`), platforms, names of outputs, caches to import. */
export const requestLimits = {
  /** Parameters of a query, each counted as often as it is given. */
  parameters: 10_000,
  /** Values and names in a JSON text, in all its lists and objects together. */
  jsonValues: 50_000,
  /** Lists and objects in each other. */
  jsonDepth: 32,
  /** Values of all `filters` together. */
  filterValues: 1_000,
  /** Dockerfile instructions in `changes`. */
  changes: 5_000,
} as const;

/**
 * Parses JSON that holds no more than `requestLimits` allow, which is looked at first. Throws `invalid` for what holds
 * more, and what `JSON.parse` throws for what is none. `what` names it in messages.
 */
export function parseBoundedJson(text: string, what: string): unknown {
  const { jsonDepth: depth, jsonValues: values } = requestLimits;
  const excess = jsonExcess(text, { depth, values });
  if (excess === 'depth') throw tooMuch(what, `is nested more than ${depth} deep`);
  if (excess === 'values') throw tooMuch(what, `holds more than ${values} values`);
  return JSON.parse(text) as unknown;
}

/** Throws `invalid` when there are more of something than `most`. */
export function checkCount(what: string, count: number, most: number): void {
  if (count > most) throw tooMuch(what, `has ${count} values, at most ${most} are taken`);
}

function tooMuch(what: string, how: string) {
  return apiError('invalid', `${what} ${how}`);
}
