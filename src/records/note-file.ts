/** The file of one note. It appears in the folder when it is whole. */
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '../errors/index.ts';
import { tryLock, writeAll } from '../linux/index.ts';
import { isNote, longestLine, noteName, unfinishedName, writerOf } from './note-format.ts';

/** How many bytes are gathered before they are written. */
const together = 256 << 10;
/** The most notes that wait to be taken in; the history keeps 50 builds of an owner unless it is told otherwise. */
const mostNotes = 100;
/** One note of so many looks whether there are too many. */
const rounds = 16;

/** Writes a note line by line. */
export class NoteFile {
  readonly #folder: string;
  readonly #ref: string;
  readonly #path: string;
  #lines: string[] = [];
  #waiting = 0;
  #size = 0;
  #fd: number | undefined;

  constructor(folder: string, ref: string) {
    this.#folder = folder;
    this.#ref = ref;
    this.#path = join(folder, unfinishedName(process.pid, ref));
  }

  /** How many characters the note has. */
  get size(): number {
    return this.#size;
  }

  /** Adds a line. Throws for one that no reader would take, and the error of a disk that takes no more. */
  add(line: unknown): void {
    const text = `${JSON.stringify(line)}\n`;
    if (Buffer.byteLength(text) > longestLine) throw new Error('the line is too long for a note');
    this.#lines.push(text);
    this.#waiting += text.length;
    this.#size += text.length;
    if (this.#waiting >= together) this.write();
  }

  /** Writes the lines that wait, so that others see them. Throws the error of a disk that takes no more. */
  write(): void {
    if (this.#fd === undefined) {
      this.#fd = openIn(this.#folder, this.#path);
      // Readers lock no empty file, so that nobody else can have the lock yet.
      tryLock(this.#fd);
    }
    writeAll(this.#fd, Buffer.from(this.#lines.join('')));
    this.#lines = [];
    this.#waiting = 0;
  }

  /** Ends the note, and drops the oldest of too many. `at`: when the build ended, in ms since the epoch. */
  finish(at: number): void {
    const last = join(this.#folder, noteName(at, this.#ref));
    this.write();
    // The lock goes with the descriptor, and an ended note has its name before.
    renameSync(this.#path, last);
    this.#close();
    // Not each time: a folder costs more to read than a note to write.
    if (Math.floor(at) % rounds === 0) dropOld(this.#folder);
  }

  /** Leaves nothing of the note, where that can be removed. */
  abandon(): void {
    try {
      rmSync(this.#path, { force: true });
    } catch {
      // It is taken for the note of a killed process, and dropped with others.
    }
    this.#close();
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

function openIn(folder: string, path: string): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (err) {
    if (errnoCode(err) !== 'ENOENT') throw err;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return openSync(path, 'wx', 0o600);
  }
}

/** Removes the oldest notes of too many; of those, notes of killed processes go first, as their names tell no time. */
function dropOld(folder: string): void {
  const names = readdirSync(folder).sort();
  const left = names.filter((name) => {
    const pid = writerOf(name);
    return pid !== undefined && pid !== process.pid && !runs(pid);
  });
  const notes = [...left, ...names.filter(isNote)];
  for (const name of notes.slice(0, Math.max(0, notes.length - mostNotes)))
    rmSync(join(folder, name), { force: true });
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return errnoCode(err) === 'EPERM';
  }
}
