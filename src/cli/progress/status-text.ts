import type { StatusEvent } from '../../progress/index.ts';
import { formatBytes } from '../units.ts';
import { seconds } from './model.ts';

/** The text of a transfer, without its time: `transferring context: 2.1kB`, `sha256:… 1.2MB / 3.4MB`. */
export function statusText({ name, current, total }: StatusEvent): string {
  if (total > 0) return `${name} ${formatBytes(current)} / ${formatBytes(total)}`;
  if (current > 0) return `${name}${/^sha256:|:$/.test(name) ? '' : ':'} ${formatBytes(current)}`;
  return name;
}

/** The time since a status began, or the time that it took. */
export function statusTime(status: StatusEvent, now: number): string {
  return seconds((status.completed ?? now) - (status.started ?? status.timestamp));
}
