/**
 * ExecProcess of LLBBridge: processes in containers, with their input, output, terminals and signals over one stream.
 */
import { constants } from 'node:os';
import { PassThrough } from 'node:stream';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { DrydockError, fail } from '../../errors/index.ts';
import { shortageText } from '../../executor/index.ts';
import type { StatusSchema } from '../../pb/google/rpc/status_pb.js';
import { type ExecMessage, ExecMessageSchema } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { ContainerProcess } from './container.ts';
import type { Containers } from './containers.ts';
import { errorStatus } from './encode.ts';

/** The exit code of a process that ended without one. */
const unknownExit = 255;
/** The largest output message, in bytes. */
const chunkSize = 64 << 10;
/** How many bytes of output may wait for the client before the process is held up. */
const highWater = 4 << 20;

type Input = MessageInitShape<typeof ExecMessageSchema>['Input'];

interface ServedProcess {
  /** The process; undefined until its container has taken it on. */
  process: Promise<ContainerProcess>;
  stdin: PassThrough | undefined;
}

/** Serves one stream, until the client has ended it and all of its processes are done. */
export async function* execProcess(
  messages: AsyncIterable<ExecMessage>,
  containers: Containers,
  signal: AbortSignal,
): AsyncGenerator<ExecMessage> {
  const out = new Outbox();
  const running = new Map<string, ServedProcess>();
  const ends = new Set<Promise<void>>();
  const onAbort = () => out.fail(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const take = async () => {
    for await (const message of messages) await handle(message, { containers, running, out, ends });
    // Input that nobody sends any more has ended.
    for (const { stdin } of running.values()) stdin?.end();
    await Promise.all(ends);
  };
  take().then(
    () => out.end(),
    (err) => out.fail(err),
  );
  try {
    yield* out.messages();
  } finally {
    signal.removeEventListener('abort', onAbort);
    for (const { stdin } of running.values()) stdin?.destroy();
  }
}

interface Stream {
  containers: Containers;
  running: Map<string, ServedProcess>;
  out: Outbox;
  ends: Set<Promise<void>>;
}

async function handle({ ProcessID: id, Input: input }: ExecMessage, stream: Stream): Promise<void> {
  if (id === '') throw fail('invalid', 'exec', 'ProcessID required');
  const known = stream.running.get(id);
  if (input.case === 'Init') {
    if (known !== undefined) throw fail('exists', 'exec', `Process ${id} already exists`);
    start(id, input.value, stream);
    return;
  }
  if (known === undefined) throw fail('not-found', 'exec', `IO for process ${JSON.stringify(id)} not found`);
  switch (input.case) {
    case 'File': {
      const { Fd, EOF, Data } = input.value;
      if (Fd !== 0 || known.stdin === undefined) {
        throw fail('invalid', 'exec', `fd ${Fd} unavailable to write`);
      }
      const { stdin } = known;
      if (Data.length > 0 && !stdin.destroyed && !stdin.writableEnded && !stdin.write(Data)) {
        await new Promise<void>((resolve) => {
          stdin.once('drain', resolve);
          stdin.once('close', resolve);
        });
      }
      if (EOF) stdin.end();
      return;
    }
    case 'Resize': {
      const { Rows, Cols } = input.value;
      known.process.then((process) => process.resize(Rows, Cols)).catch(() => {});
      return;
    }
    case 'Signal': {
      const name = signalOf(input.value.Name);
      known.process.then((process) => process.signal(name)).catch(() => {});
      return;
    }
    default:
      return;
  }
}

/** The signal for `TERM`, `SIGTERM` or a number. Throws `invalid`. */
function signalOf(name: string): NodeJS.Signals {
  const upper = name.toUpperCase();
  const full = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  if (Object.hasOwn(constants.signals, full)) return full as NodeJS.Signals;
  throw fail('invalid', 'exec', `Unknown signal ${name}`);
}

function start(
  id: string,
  init: Extract<ExecMessage['Input'], { case: 'Init' }>['value'],
  stream: Stream,
): void {
  const { out, running, ends } = stream;
  const send = (input: Input) => out.push(create(ExecMessageSchema, { ProcessID: id, Input: input }));
  const wants = (fd: number) => init.Fds.includes(fd);
  const stdin = wants(0) ? new PassThrough() : undefined;
  // Output is told of only once the process is known to have started.
  const early: (() => void)[] = [];
  let isStarted = false;
  const output =
    (fd: number) =>
    (chunk: Buffer): void | Promise<void> => {
      if (!wants(fd)) return;
      const tell = () => {
        for (let at = 0; at < chunk.length; at += chunkSize) {
          send({ case: 'File', value: { Fd: fd, Data: chunk.subarray(at, at + chunkSize) } });
        }
      };
      if (!isStarted) return void early.push(tell);
      tell();
      return out.room();
    };
  const container = stream.containers.get(init.ContainerID);
  const process = container.start(init, { stdin, stdout: output(1), stderr: output(2) });
  running.set(id, { process, stdin });
  const end = (async () => {
    let exit: { Code: number; Error?: MessageInitShape<typeof StatusSchema> } = { Code: 0 };
    // Clients wait for `Started`, and are not woken by the stream's end: also what cannot be tried starts and exits.
    await process.catch(() => {});
    // At once: clients start one process after the other and read the output of the first only when all of a pipe run.
    send({ case: 'Started', value: {} });
    isStarted = true;
    for (const tell of early.splice(0)) tell();
    try {
      const { exitCode, shortage } = await (await process).ended;
      if (exitCode !== 0) {
        const why = shortage === undefined ? '' : `: cannot allocate memory (${shortageText(shortage)})`;
        exit = { Code: exitCode, Error: { code: 2, message: `exit code: ${exitCode}${why}` } };
      }
    } catch (err) {
      if (!(err instanceof DrydockError)) throw err;
      exit = { Code: unknownExit, Error: errorStatus(err) };
    }
    stdin?.destroy();
    send({ case: 'Exit', value: exit });
    for (const fd of [1, 2]) if (wants(fd)) send({ case: 'File', value: { Fd: fd, EOF: true } });
    send({ case: 'Done', value: {} });
  })();
  end.catch((err) => out.fail(err));
  ends.add(end);
}

/** The messages on their way to the client. */
class Outbox {
  readonly #queue: ExecMessage[] = [];
  #bytes = 0;
  #drained: PromiseWithResolvers<void> | undefined;
  #ended = false;
  #failure: { reason: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** Undefined while there is room. Otherwise a promise that resolves when there is room again. */
  room(): Promise<void> | undefined {
    if (this.#bytes <= highWater) return undefined;
    this.#drained ??= Promise.withResolvers();
    return this.#drained.promise;
  }

  push(message: ExecMessage): void {
    if (message.Input.case === 'File') this.#bytes += message.Input.value.Data.length;
    this.#queue.push(message);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#wake?.();
  }

  async *messages(): AsyncGenerator<ExecMessage> {
    try {
      for (;;) {
        const next = this.#queue.shift();
        if (next !== undefined) {
          if (next.Input.case === 'File') this.#bytes -= next.Input.value.Data.length;
          if (this.#bytes <= highWater) this.#drain();
          yield next;
          continue;
        }
        if (this.#failure !== undefined) throw this.#failure.reason;
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      // Nobody reads any more; what still comes is dropped and holds nobody up.
      this.#bytes = Number.NEGATIVE_INFINITY;
      this.#drain();
    }
  }

  #drain(): void {
    this.#drained?.resolve();
    this.#drained = undefined;
  }
}
