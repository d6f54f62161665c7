/**
 * Reads truth values as Go does (https://pkg.go.dev/strconv#ParseBool), and so all clients and daemons written in Go.
 */

const values: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'true', 'TRUE', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((text) => [text, false] as const),
]);

/** Reads a truth value; undefined for any other text, including the empty one. */
export function parseBool(text: string): boolean | undefined {
  return values.get(text);
}
