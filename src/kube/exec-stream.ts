/** The input and output of a program in a pod, as one stream: what Kubernetes calls exec, over a WebSocket. */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type DrydockError, fail } from '../errors/index.ts';
import { binary, clientFrame, close, FrameReader, ping, pong } from './frames.ts';

/** The channels of a message, by its first byte. */
const stdin = 0;
const stdout = 1;
const stderr = 2;
const status = 3;
/** In v5 alone: ends another channel. */
const closing = 255;

/** The protocols that are spoken, the better one first. */
export const execProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;

/** The most of the program's complaints that is kept for an error. */
const maxComplaint = 4096;
/** How often the server is asked whether it is there, so that no proxy takes the connection for dead; in ms. */
const pingMs = 30_000;

/** An upgraded connection, what came on it already, and which of the protocols is spoken on it. */
export interface ExecConnection {
  socket: Socket;
  head: Buffer;
  protocol: string;
}

/**
 * A running program's stdout to be read and stdin to be written. `connect` is emitted once the connection is there. The end
 * of what is written ends the program's input (protocol v5; v4 cannot say so, and the connection ends with the stream). A
 * connection that does not come about, and a program that fails, destroy the stream with an error that has the
 * program's last words.
 */
export class ExecStream extends Duplex {
  readonly #open: () => Promise<ExecConnection>;
  readonly #what: string;
  readonly #reader = new FrameReader();
  #socket!: Socket;
  #protocol = '';
  #pings: NodeJS.Timeout | undefined;
  #channel: number | undefined;
  #complaint = '';
  #status = '';

  /** `what` names the program for errors. */
  constructor(open: () => Promise<ExecConnection>, what: string) {
    super({ allowHalfOpen: false });
    this.#open = open;
    this.#what = what;
  }

  /** Whether the process goes on for this connection alone. */
  keepsAlive(yes: boolean): void {
    if (yes) this.#socket.ref();
    else this.#socket.unref();
  }

  override _construct(done: (err?: Error | null) => void): void {
    this.#open().then(({ socket, head, protocol }) => {
      if (this.destroyed) return void socket.destroy();
      this.#socket = socket;
      this.#protocol = protocol;
      socket.on('data', (bytes: Buffer) => this.#take(bytes));
      socket.on('error', (err) => this.destroy(err));
      socket.on('close', () => this.#over());
      this.#pings = setInterval(() => socket.write(clientFrame(ping)), pingMs).unref();
      if (head.length > 0) this.#take(head);
      done();
      this.emit('connect');
    }, done);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (err?: Error | null) => void): void {
    this.#socket.write(clientFrame(binary, Buffer.of(stdin), bytes), done);
  }

  override _final(done: (err?: Error | null) => void): void {
    if (this.#protocol === execProtocols[0] && !this.#socket.destroyed) {
      this.#socket.write(clientFrame(binary, Buffer.of(closing, stdin)), done);
    } else done();
  }

  override _destroy(err: Error | null, done: (err: Error | null) => void): void {
    clearInterval(this.#pings);
    if (this.#socket !== undefined && !this.#socket.destroyed) {
      this.#socket.write(clientFrame(close, Buffer.of(0x03, 0xe8)));
      this.#socket.destroySoon();
    }
    done(err);
  }

  #take(bytes: Buffer): void {
    try {
      for (const piece of this.#reader.read(bytes)) {
        if (piece.opcode === ping) this.#socket.write(clientFrame(pong, piece.bytes));
        else if (piece.opcode === close) this.#over();
        else if (piece.opcode < close) this.#message(piece.bytes, piece.first);
      }
    } catch (cause) {
      this.destroy(fail('corrupt', 'client', `${this.#what}: ${(cause as Error).message}`, { cause }));
    }
  }

  #message(bytes: Buffer, first: boolean): void {
    if (this.readableEnded) return;
    let rest = bytes;
    if (first) this.#channel = undefined;
    if (this.#channel === undefined) {
      if (rest.length === 0) return;
      this.#channel = rest[0];
      rest = rest.subarray(1);
    }
    if (rest.length === 0) return;
    if (this.#channel === stdout) {
      if (!this.push(rest)) this.#socket.pause();
    } else if (this.#channel === stderr)
      this.#complaint = (this.#complaint + rest.toString()).slice(-maxComplaint);
    else if (this.#channel === status)
      this.#status = (this.#status + rest.toString()).slice(0, 16 * maxComplaint);
  }

  /** The program has ended, or the connection is gone. */
  #over(): void {
    if (this.destroyed) return;
    clearInterval(this.#pings);
    const failure = failureIn(this.#status, this.#complaint.trim(), this.#what);
    if (failure !== undefined) this.destroy(failure);
    else {
      this.push(null);
      this.#socket.destroy();
    }
  }
}

/** The error in the last words of a server and of its program; undefined when all went well. */
function failureIn(text: string, complaint: string, what: string): DrydockError | undefined {
  // A connection that breaks off says nothing; who reads on it finds that out.
  if (text === '')
    return complaint === '' ? undefined : fail('unavailable', 'client', `${what}: ${complaint}`);
  let answer: { status?: string; message?: string };
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch {
    answer = { message: text };
  }
  if (answer.status === 'Success') return undefined;
  return fail('unavailable', 'client', `${what}: ${complaint || answer.message || 'it has failed'}`);
}
