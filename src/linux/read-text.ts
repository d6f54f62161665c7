import { readFileSync } from 'node:fs';

/** The text of one of the system's own files, in /proc, /sys or /etc; '' when it is not there or may not be read. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
