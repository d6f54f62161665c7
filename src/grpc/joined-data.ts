/**
 * Joins the DATA frames of an HTTP/2 connection. gRPC's clients in Go send a frame for each message, of some hundred
 * bytes where they list files, and Node calls back for each frame. https://www.rfc-editor.org/rfc/rfc9113#section-4.1
 */

const headLength = 9;
/** The type of DATA. */
const data = 0;
/** The most bytes of a joined frame. Peers may send us frames of 1 MiB. */
const mostJoined = 256 << 10;

/** The most bytes of frames without data that clients in Go send in one piece: some window updates, or a ping. */
const mostControl = 64;

/**
 * Whether bytes of a connection that came in one piece are frames other than DATA: mostly window updates, for which a
 * sender waits that has used up its window. A piece that begins within a frame may be misjudged.
 */
export function isControl(piece: Uint8Array): boolean {
  return piece.length >= headLength && piece.length <= mostControl && piece[3] !== data;
}

/**
 * Rewrites one direction of a connection: DATA frames without flags that follow each other on one stream become one, and
 * one that has come in part is passed on in parts. All other bytes stay as they are. Flow control counts the bytes in
 * frames, so it is the same for both.
 *
 *     const memory = Buffer.alloc(DataJoiner.room(parts.length, size));
 *     const length = joiner.join(parts, memory);
 */
export class DataJoiner {
  /** The head of the frame that is being read. */
  readonly #head = Buffer.alloc(headLength);
  #headRead = 0;
  /** The bytes of the frame that are still to come. */
  #left = 0;
  /** Whether the frame may be joined with others. */
  #isPlain = false;

  /** The most bytes that so many parts of so many bytes in all become: the frame that a part begins within gets a head. */
  static room(parts: number, size: number): number {
    return size + (parts + 1) * headLength;
  }

  /** Writes the frames in the parts to the beginning of `to`, which has `room`; returns how many bytes that are. */
  join(parts: readonly Uint8Array[], to: Buffer): number {
    let end = 0;
    /** The place of the head of the joined frame that grows; -1: there is none. */
    let open = -1;
    const close = () => {
      if (open < 0) return;
      const length = end - open - headLength;
      to.writeUIntBE(length, open, 3);
      open = -1;
    };
    for (const part of parts) {
      for (let at = 0; at < part.length; ) {
        if (this.#left === 0 && this.#headRead < headLength) {
          at = this.#readHead(part, at);
          if (this.#headRead < headLength) break;
          this.#begin();
          if (!this.#isPlain) {
            close();
            end += this.#head.copy(to, end);
          }
          if (this.#left === 0) this.#headRead = 0;
          continue;
        }
        const length = Math.min(this.#left, part.length - at);
        if (this.#isPlain) {
          if (open >= 0 && (!this.#isOf(to, open) || end - open + length > mostJoined)) close();
          if (open < 0) {
            open = end;
            end += this.#head.copy(to, end);
          }
        }
        to.set(part.subarray(at, at + length), end);
        end += length;
        at += length;
        this.#left -= length;
        if (this.#left === 0) this.#headRead = 0;
      }
    }
    close();
    return end;
  }

  #readHead(part: Uint8Array, at: number): number {
    const end = Math.min(part.length, at + headLength - this.#headRead);
    for (let i = at; i < end; i++) this.#head[this.#headRead++] = part[i] as number;
    return end;
  }

  #begin(): void {
    const head = this.#head;
    this.#left = head.readUIntBE(0, 3);
    const stream = head.readUInt32BE(5);
    this.#isPlain = head[3] === data && head[4] === 0 && stream !== 0 && this.#left <= mostJoined;
  }

  /** Whether the joined frame at a place is of the stream of the frame that is read. */
  #isOf(to: Buffer, at: number): boolean {
    return to.readUInt32BE(at + 5) === this.#head.readUInt32BE(5);
  }
}
