/** The input and the output of a step: pipes, or a terminal. */
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import { openPty, pipe, setTerminalSize } from '../linux/index.ts';
import type { ExecIo } from './types.ts';

interface Stdio {
  /** The file descriptors 0, 1 and 2 of the child. */
  child: (number | 'ignore')[];
  /** Closes this process's copies of the child's ends. Called once the child is started, or could not be. */
  closeChild(): void;
  /** Carries input and output from now on. Resolves when no more output can come. */
  connect(): Promise<unknown>;
  /** Sets the terminal's size; false when there is no terminal. */
  resize(rows: number, cols: number): boolean;
  /** Closes what is still open. */
  close(): void;
}

/** Hands a stream's chunks on, no faster than they are taken. */
function carry(stream: Socket, take: ExecIo['stdout']): Promise<void> {
  stream.on('data', (chunk: Buffer) => {
    const wait = take(chunk);
    if (wait === undefined) return;
    stream.pause();
    void wait.then(() => stream.resume());
  });
  stream.on('error', () => {});
  return new Promise((resolve) => stream.once('close', () => resolve()));
}

/** Input and output by pipes. */
export function pipes(io: ExecIo): Stdio {
  const out = pipe();
  const err = pipe();
  const input = io.stdin === undefined ? undefined : pipe();
  return {
    child: [input?.[0] ?? 'ignore', out[1], err[1]],
    closeChild() {
      for (const fd of [out[1], err[1], input?.[0]]) if (fd !== undefined) closeSync(fd);
    },
    connect() {
      if (input !== undefined && io.stdin !== undefined) {
        const sink = new Socket({ fd: input[1], readable: false, writable: true });
        // A step need not read all of its input.
        sink.on('error', () => {
          io.stdin?.unpipe(sink);
          io.stdin?.resume();
        });
        io.stdin.pipe(sink);
      }
      const ours = (fd: number, take: ExecIo['stdout']) =>
        carry(new Socket({ fd, readable: true, writable: false }), take);
      return Promise.all([ours(out[0], io.stdout), ours(err[0], io.stderr)]);
    },
    resize: () => false,
    close() {},
  };
}

/** Input and output by a terminal. */
export function terminal(io: ExecIo): Stdio {
  const pty = openPty();
  const child = openSync(pty.device, constants.O_RDWR | constants.O_NOCTTY);
  let stream: ReadStream | undefined;
  return {
    child: [child, child, child],
    closeChild: () => closeSync(child),
    connect() {
      stream = new ReadStream(pty.fd);
      const over = carry(stream, io.stdout);
      io.stdin?.on('data', (chunk: Buffer) => {
        if (stream?.write(chunk) === false) {
          io.stdin?.pause();
          stream.once('drain', () => io.stdin?.resume());
        }
      });
      // The end of input is what ^D is on a keyboard.
      io.stdin?.once('end', () => stream?.write('\x04'));
      return over;
    },
    resize(rows, cols) {
      if (stream === undefined || stream.destroyed) return false;
      setTerminalSize(pty.fd, rows, cols);
      return true;
    },
    close: () => void stream?.destroy(),
  };
}
