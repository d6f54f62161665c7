import { bytesFrame } from './frame.ts';

/**
 * Sends bytes as messages of `size` bytes at most, each once the one before was taken, and calls `done`. A call that is
 * over, as `isOver` tells, drops the rest: its status says why.
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
