import { bytesFrameOf } from './frame.ts';

/**
 * Sends bytes as messages of at most `size` bytes, each when the one before was taken, then calls `done`. `parts` are the
 * bytes in pieces; each is copied once, into its message. When `isOver` says that the call is over, the rest is dropped,
 * since the call's status tells why.
 */
export function sendInFrames(
  parts: readonly Buffer[],
  size: number,
  call: { isOver(): boolean; write(frame: Buffer, taken: () => void): void },
  done: () => void,
): void {
  /** The next part, and how much of it was sent. */
  let next = 0;
  let sent = 0;
  const send = () => {
    const some: Buffer[] = [];
    let length = 0;
    while (length < size && next < parts.length) {
      const part = parts[next] as Buffer;
      const piece = part.subarray(sent, sent + size - length);
      some.push(piece);
      length += piece.length;
      sent += piece.length;
      if (sent < part.length) continue;
      next++;
      sent = 0;
    }
    if (length === 0 || call.isOver()) return done();
    call.write(bytesFrameOf(some, length), send);
  };
  send();
}
