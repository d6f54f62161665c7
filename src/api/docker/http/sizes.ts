const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** 12_345_678 → `12.35MB`: powers of 1000 and four digits, as docker prints sizes. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(4))}${units[unit]}`;
}
