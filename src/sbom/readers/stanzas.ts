/** Reads text that has a field in each line and an empty line between two records. */

/** Yields records with the wanted fields (`Name: value`); lines that begin with a space go on from the line before. */
export function* stanzas(
  lines: Iterable<string>,
  wanted: readonly string[],
): Generator<Record<string, string>, void> {
  const known = new Set(wanted);
  let record: Record<string, string> = {};
  let isEmpty = true;
  for (const line of lines) {
    if (line === '') {
      if (!isEmpty) yield record;
      record = {};
      isEmpty = true;
      continue;
    }
    const colon = line.charCodeAt(0) === 32 ? -1 : line.indexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon);
    if (!known.has(name)) continue;
    record[name] ??= line.slice(colon + 1).trim();
    isEmpty = false;
  }
  if (!isEmpty) yield record;
}
