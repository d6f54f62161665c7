import { bytesFrame } from './frame.ts';

/**
 * Sends bytes as messages of at most `size` bytes, each when the one before was taken, then calls `done`. When `isOver`
 * says that the call is over, the rest is dropped, since the call's status tells why.
 */
export function sendInFrames(
  bytes: Buffer,
  size: number,
  call: { isOver(): boolean; write(frame: Buffer, taken: () => void): void },
  done: () => void,
): void {
  let rest = bytes;
  const next = () => {
    if (rest.length === 0 || call.isOver()) return done();
    const part = rest.subarray(0, size);
    rest = rest.subarray(part.length);
    call.write(bytesFrame(part), next);
  };
  next();
}
