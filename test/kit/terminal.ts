/** A command on a terminal of its own, as a user has it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { openPty, setTerminalSize } from '../../src/linux/libc.ts';

export class Terminal {
  readonly child: ChildProcess;
  /** The command's exit code. */
  readonly code: Promise<number>;
  /** All that the screen was sent. */
  shown = '';
  readonly #stream: ReadStream;
  readonly #fd: number;
  #seen: (() => void)[] = [];
  #isOver = false;

  /** Starts a command with the terminal as its controlling one. */
  constructor(
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    size: [number, number] = [24, 80],
  ) {
    const { fd, device } = openPty();
    this.#fd = fd;
    setTerminalSize(fd, ...size);
    const end = openSync(device, constants.O_RDWR | constants.O_NOCTTY);
    this.child = spawn('setsid', ['--ctty', '--wait', command, ...args], { env, stdio: [end, end, end] });
    closeSync(end);
    this.#stream = new ReadStream(fd);
    this.#stream.on('data', (chunk: Buffer) => {
      this.shown += chunk.toString();
      this.#wake();
    });
    this.#stream.on('error', () => {});
    this.code = new Promise((resolve) =>
      this.child.once('exit', (code) => {
        this.#isOver = true;
        this.#wake();
        resolve(code ?? -1);
      }),
    );
  }

  type(keys: string): void {
    this.#stream.write(keys);
  }

  resize(rows: number, cols: number): void {
    setTerminalSize(this.#fd, rows, cols);
  }

  /** Waits until the screen was sent this. Throws when the command ends before, or when it does not come. */
  async until(wanted: RegExp): Promise<void> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, 100_000);
    using _ = { [Symbol.dispose]: () => clearTimeout(timer) };
    while (!wanted.test(this.shown)) {
      if (this.#isOver) throw new Error(`the command ended without ${wanted}:\n${this.shown}`);
      if (isLate) throw new Error(`the command does not come to ${wanted}:\n${this.shown}`);
      await new Promise<void>((resolve) => this.#seen.push(resolve));
    }
  }

  close(): void {
    this.#stream.destroy();
  }

  #wake(): void {
    for (const look of this.#seen.splice(0)) look();
  }
}
