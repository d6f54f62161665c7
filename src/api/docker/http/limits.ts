/**
 * The limits on one request, where reading or using more would take long on the thread that serves everybody. No client
 * comes near them; a request beyond one gets a 400 that names it. The whole head of a request, with its query, is at
 * most 1 MiB (`daemon/connections.ts`), and so is a JSON body. Pure.
 */
import { jsonExcess } from '../../../oci/index.ts';
import { apiError } from './errors.ts';

/**
 * The limits. Some more are checked where the values are used: options (`checkOptionsSize`), platforms, names of
 * outputs, caches to import.
 */
export const requestLimits = {
  /** Parameters of a query; one that is given several times counts as often. */
  parameters: 10_000,
  /** Values and names in a JSON text, in all of its lists and objects together. */
  jsonValues: 50_000,
  /** Lists and objects inside each other. */
  jsonDepth: 32,
  /** Values of all `filters` together. */
  filterValues: 1_000,
  /** Dockerfile instructions in `changes`. */
  changes: 5_000,
} as const;

/**
 * Parses JSON that keeps to `requestLimits`, which are checked first. Throws `invalid` for JSON that does not, and the
 * errors of `JSON.parse`. `what` names the text in messages.
 */
export function parseBoundedJson(text: string, what: string): unknown {
  const { jsonDepth: depth, jsonValues: values } = requestLimits;
  const excess = jsonExcess(text, { depth, values });
  if (excess === 'depth') throw tooMuch(what, `is nested more than ${depth} deep`);
  if (excess === 'values') throw tooMuch(what, `holds more than ${values} values`);
  return JSON.parse(text) as unknown;
}

/** Throws `invalid` when there are more things than `most`. `what` names them in the message. */
export function checkCount(what: string, count: number, most: number): void {
  if (count > most) throw tooMuch(what, `has ${count} values, at most ${most} are taken`);
}

function tooMuch(what: string, how: string) {
  return apiError('invalid', `${what} ${how}`);
}
