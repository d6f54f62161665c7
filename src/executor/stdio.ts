/** The input and the output of a step: pipes, or a terminal. */
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import { openPty, pipe, setTerminalSize } from '../linux/index.ts';
import type { ExecIo } from './types.ts';

export interface Stdio {
  /** The file descriptors 0, 1 and 2 of the child. */
  child: (number | 'ignore')[];
  /** Closes this process's copies of the child's ends. Called once the child is started, or could not be. */
  closeChild(): void;
  /** Carries input and output of a process from now on. Resolves when no more output can come. */
  connect(io: ExecIo): Promise<unknown>;
  /** Sets the terminal's size; false when there is no terminal. */
  resize(rows: number, cols: number): boolean;
  /** Closes what is still open. */
  close(): void;
  /** Closes this process's ends when `connect` was never called. */
  drop(): void;
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

/** Output by pipes, and input too where there will be any. */
export function pipes(hasInput: boolean): Stdio {
  const out = pipe();
  const err = pipe();
  const input = hasInput ? pipe() : undefined;
  return {
    child: [input?.[0] ?? 'ignore', out[1], err[1]],
    closeChild() {
      for (const fd of [out[1], err[1], input?.[0]]) if (fd !== undefined) closeSync(fd);
    },
    connect(io) {
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
    drop() {
      for (const fd of [out[0], err[0], input?.[1]]) if (fd !== undefined) closeSync(fd);
    },
  };
}

/** Input and output by a terminal. */
export function terminal(): Stdio {
  const pty = openPty();
  const child = openSync(pty.device, constants.O_RDWR | constants.O_NOCTTY);
  let stream: ReadStream | undefined;
  return {
    child: [child, child, child],
    closeChild: () => closeSync(child),
    connect(io) {
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
    drop: () => closeSync(pty.fd),
  };
}
