/** A container at the other end of LLBBridge, and a process in it with its input, output and terminal. */
import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { fail } from '../../errors/index.ts';
import {
  type ExecMessage,
  ExecMessageSchema,
  type InitMessageSchema,
  LLBBridge,
} from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { OwnFrontend } from '../remote/solve.ts';
import type { Place } from './place.ts';

type Bridge = Client<typeof LLBBridge>;

/** The way to the LLBBridge of a build. */
export type BuildCalls = Pick<OwnFrontend, 'transport' | 'call'>;

/** A container that was made. */
export interface DebugContainer {
  readonly id: string;
  readonly bridge: Bridge;
  readonly call: BuildCalls['call'];
}

/** Makes a container, calls `work` with it, and releases it however that ends. */
export async function withContainer<T>(
  { transport, call }: BuildCalls,
  { container }: Place,
  work: (container: DebugContainer) => Promise<T>,
): Promise<T> {
  const bridge = createClient(LLBBridge, transport);
  const id = randomUUID();
  await bridge.newContainer({ ...container, ContainerID: id }, call);
  try {
    return await work({ id, bridge, call });
  } finally {
    // A build that has ended meanwhile has let go of it by itself.
    await bridge.releaseContainer({ ContainerID: id }, call).catch(() => {});
  }
}

/** The ends of a process's input and output on this side. */
export interface ProcessIo {
  /** Whether the process has a terminal. */
  tty: boolean;
  /** Calls `take` with the input's chunks, and with undefined at its end. Returns what stops that. */
  input(take: (chunk: Buffer | undefined) => Promise<void>): () => void;
  output(fd: number, chunk: Uint8Array): Promise<void> | undefined;
  /** Calls `tell` with the terminal's size, now and whenever it changes. Returns what stops that. */
  sized(tell: (rows: number, cols: number) => void): () => void;
}

/** Runs a process to its end and returns its exit code. Throws the error of a process that could not be run. */
export async function runProcess(
  { id, bridge, call }: DebugContainer,
  init: Omit<MessageInitShape<typeof InitMessageSchema>, 'ContainerID' | 'Fds' | 'Tty' | '$typeName'>,
  io: ProcessIo,
): Promise<number> {
  const outgoing = new Outgoing();
  const Fds = io.tty ? [0, 1] : [0, 1, 2];
  outgoing.send({ case: 'Init', value: { ...init, ContainerID: id, Fds, Tty: io.tty } });
  const ends: (() => void)[] = [];
  let exit: number | undefined;
  try {
    for await (const { Input: input } of bridge.execProcess(outgoing.messages(), call)) {
      if (input.case === 'Started') {
        ends.push(
          io.sized((Rows, Cols) => outgoing.send({ case: 'Resize', value: { Rows, Cols } })),
          io.input((chunk) =>
            outgoing.send({ case: 'File', value: { Fd: 0, Data: chunk, EOF: chunk === undefined } }),
          ),
        );
      } else if (input.case === 'File' && input.value.Data.length > 0) {
        await io.output(input.value.Fd, input.value.Data);
      } else if (input.case === 'Exit') {
        const { Code, Error: error } = input.value;
        // A process that ran has no other error than its code.
        if (error !== undefined && Code === 255 && !error.message.startsWith('exit code:')) {
          throw fail('failed', 'exec', `the process could not be run: ${error.message}`);
        }
        exit = Code;
      } else if (input.case === 'Done') break;
    }
  } finally {
    for (const end of ends) end();
    outgoing.end();
  }
  if (exit === undefined) throw fail('failed', 'exec', 'the process ended with its build');
  return exit;
}

/** Messages on their way to a process. */
class Outgoing {
  readonly #queue: { message: ExecMessage; taken: () => void }[] = [];
  #wake: () => void = () => {};
  #isEnded = false;

  /** Resolves once the message is on its way. */
  send(Input: MessageInitShape<typeof ExecMessageSchema>['Input']): Promise<void> {
    return new Promise((taken) => {
      this.#queue.push({ message: create(ExecMessageSchema, { ProcessID: 'debug', Input }), taken });
      this.#wake();
    });
  }

  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  async *messages(): AsyncGenerator<ExecMessage> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        yield next.message;
        next.taken();
      } else if (this.#isEnded) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
