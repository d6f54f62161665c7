/**
 * Writes text to an output of this process, and resolves when it is out or its reader is gone. What a pipe's reader is
 * slow to take waits in memory: long lists are printed in parts, and the process must not exit before all is out.
 */
export function print(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.writableFinished) resolve();
    else if (stream.writableEnded) {
      // Who wrote an archive to it has ended it; its reader may still be at it.
      stream.once('finish', resolve);
      stream.once('error', () => resolve());
    } else stream.write(text, () => resolve());
  });
}
