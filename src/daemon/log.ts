/** The daemon's structured log: one line for each event, as text or JSON, on a stream. */
import type { Log, LogLevel } from '../api/index.ts';
import { maskUrls } from '../errors/index.ts';

export const logLevels = ['debug', 'info', 'warn', 'error'] as const satisfies readonly LogLevel[];
export const logFormats = ['text', 'json'] as const;
export type LogFormat = (typeof logFormats)[number];

interface LogOptions {
  format: LogFormat;
  /** The lowest level that is written. */
  level: LogLevel;
  write(line: string): void;
}

/**
 * Makes a log. A field that is undefined is left out. Line breaks in texts are escaped, so that an event stays one
 * line. Passwords in URLs are masked.
 */
export function createLog({ format, level, write: writeLine }: LogOptions): Log {
  const write = (line: string) => writeLine(maskUrls(line));
  const least = logLevels.indexOf(level);
  return (of, message, fields = {}) => {
    if (logLevels.indexOf(of) < least) return;
    const time = new Date().toISOString();
    if (format === 'json') {
      write(`${JSON.stringify({ time, level: of, message, ...fields })}\n`);
      return;
    }
    let line = `${time} ${of.toUpperCase().padEnd(5)} ${oneLine(message)}`;
    for (const [name, value] of Object.entries(fields)) {
      if (value !== undefined) line += ` ${name}=${fieldText(value)}`;
    }
    write(`${line}\n`);
  };
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[\w.,:;@/+%~^()[\]{}*-]+$/.test(text)
    ? text
    : typeof value === 'string'
      ? JSON.stringify(text)
      : text;
}

function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f]/g, (c) => JSON.stringify(c).slice(1, -1));
}
