/**
 * The output of a build's steps, kept for followers that come late or are slow: a little of it in memory, more in a file
 * without a name, which goes with the process whatever ends it.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { frameHeaderLength } from '../../grpc/index.ts';
import { readAll, writeAll } from '../../linux/index.ts';

/** The most bytes that are kept in memory. */
const inMemory = 256 << 10;
/** The most bytes that are read at once. */
const readAtOnce = 512 << 10;

/** How much a spool keeps, and where. */
export interface SpoolOptions {
  /** The folder in which the file is made, and at once removed. */
  folder: string;
  /** The most bytes that are kept; default 256 MiB. */
  most?: number;
}

/** Bytes in gRPC's framing, appended at the end and read from anywhere. */
export class Spool {
  readonly #path: string;
  readonly #most: number;
  #chunks: Buffer[] = [];
  #fd: number | undefined;
  #size = 0;
  #full = false;

  constructor({ folder, most = 256 << 20 }: SpoolOptions) {
    // Others may write in the folder, and have programs of the same number: the name is one that nobody knows.
    this.#path = join(folder, `log-${randomUUID()}`);
    this.#most = most;
  }

  /** How many bytes are kept. */
  get size(): number {
    return this.#size;
  }

  /**
   * Keeps whole frames. Returns false when they are too many or the disk is full: then these and all later ones are not
   * kept.
   */
  append(frames: Buffer): boolean {
    if (this.#full || this.#size + frames.length > this.#most) {
      this.#full = true;
      return false;
    }
    if (this.#fd === undefined && this.#size + frames.length <= inMemory) this.#chunks.push(frames);
    else if (!this.#write(frames)) return false;
    this.#size += frames.length;
    return true;
  }

  /** Keeps a last word however much is kept, if the disk takes it. */
  appendLast(frames: Buffer): void {
    if (this.#write(frames)) this.#size += frames.length;
  }

  /** The frames that begin at a place, of `most` bytes together or one that is longer; none at the end. */
  read(at: number, most = readAtOnce): Buffer {
    const wanted = Math.min(most, this.#size - at);
    if (wanted <= 0) return Buffer.alloc(0);
    const bytes = this.#bytes(at, wanted);
    const whole = wholeFrames(bytes);
    return whole > bytes.length ? this.#bytes(at, whole) : bytes.subarray(0, whole);
  }

  /** Gives the file's space back. What was in it can no longer be read, and nothing more is kept. */
  close(): void {
    this.#full = true;
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
    this.#size = 0;
  }

  #bytes(at: number, length: number): Buffer {
    if (this.#fd === undefined) {
      if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
      return (this.#chunks[0] as Buffer).subarray(at, at + length);
    }
    const bytes = Buffer.allocUnsafe(length);
    readAll(this.#fd, bytes, at);
    return bytes;
  }

  /** Writes to the file, after all that was in memory. */
  #write(frames: Buffer): boolean {
    try {
      this.#fd ??= this.#open();
      writeAll(this.#fd, frames, this.#size);
      return true;
    } catch {
      // A full disk ends no build: later followers have what was kept.
      this.#full = true;
      return false;
    }
  }

  /** Makes the file, with all that was in memory. */
  #open(): number {
    const fd = openSync(this.#path, 'wx+', 0o600);
    try {
      unlinkSync(this.#path);
      writeAll(fd, Buffer.concat(this.#chunks), 0);
    } catch (err) {
      closeSync(fd);
      throw err;
    }
    this.#chunks = [];
    return fd;
  }
}

/** How many bytes the whole frames at the beginning take; the first one's length when not even that is whole. */
function wholeFrames(bytes: Buffer): number {
  let end = 0;
  while (end + frameHeaderLength <= bytes.length) {
    const next = end + frameHeaderLength + bytes.readUInt32BE(end + 1);
    if (next > bytes.length) return end === 0 ? next : end;
    end = next;
  }
  return end;
}
