/**
 * An archive without its files' contents, from which other tools make the archive again, byte for byte: JSON lines of
 * segments (headers and padding) and of files with their checksums. https://github.com/vbatts/tar-split
 */
import type { TarEntry } from '../../tar/index.ts';
import { spelled } from './chunks.ts';
import { nanoTime } from './zstd-chunked.ts';

const block = 512;

/** Collects the split. It gives up (`finish` is undefined) on archives that its readers would take otherwise. */
export class TarSplit {
  #lines: Buffer[] = [];
  #segment: Buffer[] = [];
  #position = 0;
  #paths = new Set<string>();
  #given = true;
  #ended = false;

  /** Adds bytes that are no file's content. */
  segment(bytes: Buffer): void {
    if (!this.#given) return;
    // Beyond its end, an archive may only have zeros.
    if (this.#ended && bytes.some((byte) => byte !== 0)) this.#giveUp();
    this.#segment.push(bytes);
  }

  /** Says that the archive has ended: only zeros may follow. */
  end(): void {
    this.#ended = true;
  }

  /** Adds an entry, whose header was in the last segment. `sum` is its content's checksum; undefined when it is empty. */
  file(entry: TarEntry, sum: Buffer | undefined): void {
    if (!this.#given) return;
    const segment = Buffer.concat(this.#segment);
    if (!isUsual(entry, segment) || this.#paths.has(entry.path)) {
      this.#giveUp();
      return;
    }
    this.#paths.add(entry.path);
    this.#close(segment);
    this.#line({
      type: 1,
      name: spelled(entry).path,
      size: sum === undefined ? undefined : entry.size,
      payload: sum === undefined ? null : sum.toString('base64'),
    });
  }

  finish(): Buffer | undefined {
    if (!this.#given) return undefined;
    this.#close(Buffer.concat(this.#segment));
    return Buffer.concat(this.#lines);
  }

  #close(segment: Buffer): void {
    this.#segment = [];
    if (segment.length > 0) this.#line({ type: 2, payload: segment.toString('base64') });
  }

  #line(entry: Record<string, unknown>): void {
    this.#lines.push(Buffer.from(`${JSON.stringify({ ...entry, position: this.#position++ })}\n`));
  }

  #giveUp(): void {
    this.#given = false;
    this.#lines = [];
    this.#segment = [];
  }
}

const flags: Record<TarEntry['type'], string> = {
  ...{ file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', dir: '5', fifo: '6' },
};

/** Whether every reader finds in an entry's headers what the table of contents says of it. */
function isUsual(entry: TarEntry, segment: Buffer): boolean {
  const head = segment.subarray(segment.length - block);
  const text = (at: number, length: number) => head.toString('latin1', at, at + length);
  const { path, link } = spelled(entry);
  if (!path.isWellFormed() || !link.isWellFormed() || nanoTime(entry) === undefined) return false;
  if (![...entry.xattrs.keys()].every((name) => name.isWellFormed())) return false;
  if (text(156, 1) !== flags[entry.type]) return false;
  // A mode with more than its twelve bits, a target, a size or a device number where there is none, further times.
  if (!/^[\0 ]*0*[0-7]{1,4}[\0 ]*$/.test(text(100, 8))) return false;
  if (link === '' && text(157, 1) !== '\0') return false;
  if (entry.type !== 'file' && /[^0 \0]/.test(text(124, 12))) return false;
  if (entry.type !== 'char' && entry.type !== 'block' && /[^0 \0]/.test(text(329, 16))) return false;
  if (text(257, 8) === 'ustar  \0' && /[^\0]/.test(text(345, 24))) return false;
  const extended = segment.subarray(0, segment.length - block);
  return !/ (?:atime|ctime)=/.test(extended.toString('latin1')) && !hasOthers(extended);
}

/** Whether the blocks have headers that readers of the split take for entries: global ones, and volumes'. */
function hasOthers(blocks: Buffer): boolean {
  // The padding of the entry before comes first.
  for (let at = blocks.length % block; at < blocks.length; at += block) {
    const isHead = blocks.toString('latin1', at + 257, at + 262) === 'ustar';
    if (isHead && !'xLK'.includes(blocks.toString('latin1', at + 156, at + 157))) return true;
  }
  return false;
}

/** CRC-64 of ISO 3309, reflected, as 8 bytes; most of its table's bits are zero. */
export class Crc64 {
  #low = 0xffffffff;
  #high = 0xffffffff;

  update(data: Uint8Array): void {
    let low = this.#low;
    let high = this.#high;
    for (let i = 0; i < data.length; i++) {
      const add = table[(low ^ (data[i] as number)) & 0xff] as number;
      low = (low >>> 8) | (high << 24);
      high = (high >>> 8) ^ add;
    }
    this.#low = low;
    this.#high = high;
  }

  digest(): Buffer {
    const out = Buffer.alloc(8);
    out.writeUInt32BE(~this.#high >>> 0, 0);
    out.writeUInt32BE(~this.#low >>> 0, 4);
    return out;
  }
}

/** The high words; the low ones are zero, since the polynomial has no bit below the 59th. */
const table = Int32Array.from({ length: 256 }, (_, byte) => {
  let low = byte;
  let high = 0;
  for (let i = 0; i < 8; i++) {
    const odd = low & 1;
    low = (low >>> 1) | (high << 31);
    high = (high >>> 1) ^ (odd ? 0xd8000000 : 0);
  }
  return high | 0;
});
