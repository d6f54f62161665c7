/** Truth values as Go reads them (https://pkg.go.dev/strconv#ParseBool), and so all clients and daemons written in Go. */

const values: ReadonlyMap<string, boolean> = new Map([
  ...['1', 't', 'T', 'true', 'TRUE', 'True'].map((text) => [text, true] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((text) => [text, false] as const),
]);

/** Reads a truth value; undefined for every other text, the empty one among them. */
export function parseBool(text: string): boolean | undefined {
  return values.get(text);
}
