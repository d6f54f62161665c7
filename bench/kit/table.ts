/** Markdown tables, and the words of their cells. */

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

export const none = '–';

export function seconds(value: number | undefined): string {
  return value === undefined ? none : `${value.toFixed(2)} s`;
}

export function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? none : `${Math.round(bytes / 1e6)} MB`;
}

export function milliseconds(value: number): string {
  return `${value.toFixed(1)} ms`;
}

/** Ours by theirs. */
export function ratio(ours: number | undefined, theirs: number | undefined): string {
  return ours === undefined || theirs === undefined ? none : `${(ours / theirs).toFixed(2)} ×`;
}
