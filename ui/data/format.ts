/** Numbers and times for people. Pure. */

/** `1.2 s`, `2 m 05 s`, `1 h 02 m`. */
export function duration(ms: number): string {
  if (ms < 0) return '0 s';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} m ${two(Math.floor((ms % 60_000) / 1000))} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
}

function two(number: number): string {
  return String(number).padStart(2, '0');
}

/** `512 B`, `1.4 MB`: powers of 1000, as docker writes sizes. */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/**
 * `14:03:22` of today, `2026-03-03 14:03` of another day. By hand: the first use of the browser's own words takes longer
 * than all else of a view.
 */
export function time(ms: number, now: number): string {
  const date = new Date(ms);
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  const day = dayOf(date);
  return day === dayOf(new Date(now)) ? `${clock}:${two(date.getSeconds())}` : `${day} ${clock}`;
}

function dayOf(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** `3 min ago`. */
export function ago(ms: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - ms) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** `1,203` */
export function plain(number: number): string {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ',');
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${plain(number)} ${number === 1 ? one : many}`;
}
