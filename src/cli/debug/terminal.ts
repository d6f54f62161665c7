/** This process's own streams as the input and output of another, by the terminal where there is one. */
import type { ReadStream } from 'node:tty';
import type { ProcessIo } from './container.ts';

interface Streams {
  stdin: NodeJS.ReadStream;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
}

/**
 * The streams as a process's. With a terminal at both ends the process has one, too: keys go to it as they are pressed
 * (^C as well), and it is told of the size. Otherwise it has pipes.
 */
export function ownStreams({ stdin, stdout, stderr }: Streams): ProcessIo {
  const tty = stdin.isTTY === true && stdout.isTTY === true;
  return {
    tty,
    input(take) {
      const restore = tty ? rawKeys(stdin) : () => {};
      const onData = (chunk: Buffer) => {
        // Input that is not taken yet is not read further.
        stdin.pause();
        void take(chunk).then(() => isOver || stdin.resume());
      };
      const onEnd = () => void take(undefined);
      let isOver = false;
      stdin.on('data', onData);
      stdin.once('end', onEnd);
      stdin.resume();
      return () => {
        isOver = true;
        stdin.off('data', onData);
        stdin.off('end', onEnd);
        stdin.pause();
        restore();
      };
    },
    output(fd, chunk) {
      const stream = fd === 2 ? stderr : stdout;
      if (stream.write(chunk) || stream.destroyed) return undefined;
      return new Promise((resolve) => {
        const go = () => {
          stream.off('drain', go);
          stream.off('close', go);
          resolve();
        };
        stream.once('drain', go);
        stream.once('close', go);
      });
    },
    sized(tell) {
      if (!tty) return () => {};
      const say = () => tell(stdout.rows, stdout.columns);
      say();
      stdout.on('resize', say);
      return () => void stdout.off('resize', say);
    },
  };
}

/** Has a terminal give its keys as they are. Returns what takes that back, which is done at the latest when we exit. */
function rawKeys(stdin: ReadStream): () => void {
  const restore = () => {
    process.off('exit', restore);
    stdin.setRawMode(false);
  };
  process.once('exit', restore);
  stdin.setRawMode(true);
  return restore;
}
