/**
 * The programs that the kernel was told to start other machines' programs with.
 * https://docs.kernel.org/admin-guide/binfmt-misc.html
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { matches } from './elf.ts';

/** The folder in which the kernel shows its handlers, when it is mounted. */
export const binfmtFolder = '/proc/sys/fs/binfmt_misc';

/** A handler, as its file in the folder tells of it. */
export interface Handler {
  name: string;
  enabled: boolean;
  interpreter: string;
  /** `F`: the interpreter was opened when it was registered, and is found whatever root a process has. */
  flags: string;
  offset: number;
  /** Empty for a handler that goes by the ending of a file's name. */
  magic: Buffer;
  mask: Buffer | undefined;
}

/** Whether the folder is mounted in this process's mount namespace. */
export function isMounted(dir = binfmtFolder): boolean {
  return namesIn(dir).includes('register');
}

/** The names and texts of all handlers; none where the folder is not mounted. */
export function handlerTexts(dir = binfmtFolder): [name: string, text: string][] {
  const names = namesIn(dir).filter((name) => name !== 'register');
  return names.flatMap((name): [string, string][] => {
    try {
      return [[name, readFileSync(join(dir, name), 'latin1')]];
    } catch {
      // Removed meanwhile.
      return [];
    }
  });
}

/** Reads what `handlerTexts` returns; no handler is enabled where `status` says that none is. Pure. */
export function parseHandlers(texts: readonly (readonly [name: string, text: string])[]): Handler[] {
  const off = texts.some(([name, text]) => name === 'status' && text.trim() === 'disabled');
  return texts
    .filter(([name]) => name !== 'status')
    .map(([name, text]) => {
      const value = (key: string) => new RegExp(`^${key}:? (.*)$`, 'm').exec(text)?.[1];
      const mask = value('mask');
      return {
        name,
        enabled: !off && text.startsWith('enabled'),
        interpreter: value('interpreter') ?? '',
        flags: value('flags') ?? '',
        offset: Number(value('offset') ?? 0),
        magic: Buffer.from(value('magic') ?? '', 'hex'),
        mask: mask === undefined ? undefined : Buffer.from(mask, 'hex'),
      };
    });
}

/** The enabled handler for a file that begins with `head`: of several, one that works in any root. */
export function handlerFor(handlers: readonly Handler[], head: Buffer): Handler | undefined {
  const fit = handlers.filter(
    ({ enabled, magic, mask, offset }) => enabled && magic.length > 0 && matches(head, magic, mask, offset),
  );
  return fit.find(isFixed) ?? fit[0];
}

/** Whether the handler's interpreter is found in any root. */
export function isFixed({ flags }: Handler): boolean {
  return flags.includes('F');
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
