import { createHash } from 'node:crypto';
import { Code } from '@connectrpc/connect';
import { DrydockError, fail } from '../../errors/index.ts';
import type { Digest } from '../../oci/index.ts';
import { WriteAction } from '../../pb/containerd/content_pb.js';
import type { ContentWriter, WriterOptions } from '../store.ts';
import { breakOf, hasCode, isLocked } from './errors.ts';
import { ingestLifeMs, noLease } from './lease-names.ts';
import { type ContainerdParts, leaseName } from './shared.ts';
import { type WriteMessage, WriteStream } from './write-stream.ts';

/** The bytes in one message; containerd takes up to 16 MiB. */
const messageBytes = 1 << 20;

/** One open ingest in containerd. Every message is answered, and the answers are read as they come. */
export class ContainerdWriter implements ContentWriter {
  readonly offset: number;
  readonly #shared: ContainerdParts;
  readonly #ref: string;
  readonly #options: WriterOptions;
  readonly #stream: WriteStream;
  readonly #closed: () => void;
  #size: number;
  /** The bytes still to be written that containerd has already; they are skipped. */
  #passed: number;
  /** Resolves when all messages sent so far have been answered. */
  #answers: Promise<void> = Promise.resolve();
  readonly #broken = Promise.withResolvers<never>();
  #queue: Promise<void> = Promise.resolve();
  #state: 'open' | 'failed' | 'closed' = 'open';

  private constructor(
    shared: ContainerdParts,
    ref: string,
    options: WriterOptions,
    stream: WriteStream,
    offset: number,
    closed: () => void,
  ) {
    this.#shared = shared;
    this.#ref = ref;
    this.#options = options;
    this.#stream = stream;
    this.#closed = closed;
    this.offset = options.resume === true ? offset : 0;
    this.#size = offset;
    this.#passed = offset - this.offset;
    this.#broken.promise.catch(() => {}); // the next write throws it
  }

  /**
   * Opens an ingest. Throws `exists` (the blob is under the lease then), `conflict`, `not-found` (the lease),
   * `unavailable`.
   */
  static async open(
    shared: ContainerdParts,
    ref: string,
    options: WriterOptions,
    closed: () => void,
  ): Promise<ContainerdWriter> {
    const { connection } = shared;
    const { expected } = options;
    for (let attempt = 0; ; attempt++) {
      try {
        const { stream, offset, total } = await connection.raw({ again: true }, () =>
          start(shared, ref, options),
        );
        // containerd has all of it at once when another namespace has the blob and containerd lets namespaces share.
        // Bytes that are written are skipped then.
        const isWhole = expected?.digest !== undefined && offset === total;
        const usable = options.resume === true ? offset <= (expected?.size ?? offset) : isWhole;
        if (usable || offset === 0) {
          return new ContainerdWriter(shared, ref, options, stream, offset, closed);
        }
        await stream.end();
      } catch (err) {
        if (hasCode(err, Code.AlreadyExists)) {
          const id = expected?.digest ?? '';
          await shared.passing.took(options.lease, { type: 'content', id });
          throw fail('exists', 'store', `the blob ${expected?.digest} is there already`);
        }
        if (hasCode(err, Code.NotFound)) throw noLease(options.lease);
        if (isLocked(err)) throw busy(ref);
        // The ingest that is left there was begun for another size.
        const other = hasCode(err, Code.Unknown) && /total differs/.test(String(err));
        if (!other || attempt > 0) throw connection.failure(err, `opening the ingest ${JSON.stringify(ref)}`);
      }
      await dropIngest(shared, ref);
    }
  }

  write(chunk: Uint8Array): Promise<void> {
    const done = this.#queue.then(() => this.#append(chunk));
    this.#queue = done.catch(() => {});
    return done;
  }

  async #append(chunk: Uint8Array): Promise<void> {
    this.#mustBeOpen();
    const { expected } = this.#options;
    const known = Math.min(this.#passed, chunk.byteLength);
    if (expected?.size !== undefined && this.#size + chunk.byteLength - known > expected.size) {
      this.#state = 'failed';
      throw fail('corrupt', 'store', `${this.#name()} has more than ${expected.size} bytes`);
    }
    this.#passed -= known;
    for (let at = known; at < chunk.byteLength; at += messageBytes) {
      const data = chunk.subarray(at, at + messageBytes);
      await this.#send({ action: WriteAction.WRITE, offset: BigInt(this.#size), data });
      this.#size += data.byteLength;
    }
  }

  /** Sends a message while the answers of those before are still on their way. */
  async #send(message: WriteMessage): Promise<void> {
    this.#answers = this.#answers.then(() => this.#answered());
    this.#answers.catch(() => {});
    try {
      await Promise.race([this.#stream.send(message), this.#broken.promise]);
    } catch (err) {
      throw this.#failure(err, 'writing');
    }
  }

  async #answered(): Promise<void> {
    try {
      if ((await this.#stream.receive()) === undefined) throw new Error('the call ended');
    } catch (err) {
      this.#broken.reject(err);
      throw err;
    }
  }

  async commit(labels?: Record<string, string>): Promise<{ digest: Digest; size: number }> {
    await this.#queue;
    this.#mustBeOpen();
    const { expected } = this.#options;
    const size = this.#size - this.#passed;
    try {
      if (expected?.size !== undefined && size !== expected.size) {
        throw fail('corrupt', 'store', `${this.#name()} ended after ${size} of ${expected.size} bytes`);
      }
      await this.#answers.catch((err) => {
        throw this.#failure(err, 'writing');
      });
      const digest = await this.#commit(size, labels);
      await this.#shared.passing.took(this.#options.lease, { type: 'content', id: digest });
      this.#state = 'closed';
      this.#closed();
      if (this.offset > 0) await forgetKept(this.#shared, this.#ref);
      return { digest, size };
    } catch (err) {
      if (this.#state === 'open') this.#state = 'failed';
      await this.abort();
      throw err;
    }
  }

  async #commit(size: number, labels: Record<string, string> | undefined): Promise<Digest> {
    const { connection } = this.#shared;
    const { expected, lease } = this.#options;
    const what = `storing ${this.#name()}`;
    try {
      const sent = this.#stream.send({
        action: WriteAction.COMMIT,
        offset: BigInt(size),
        total: BigInt(size),
        expected: expected?.digest,
        labels: labels ?? {},
      });
      sent.catch(() => {});
      const answer = await this.#stream.receive();
      if (answer === undefined) throw new Error('the call ended');
      await this.#stream.end();
      return answer.digest as Digest;
    } catch (err) {
      if (hasCode(err, Code.AlreadyExists)) {
        // Another writer has stored the same bytes meanwhile. They are under our lease too, from now on.
        const digest = (expected?.digest ?? /sha256:[0-9a-f]{64}/.exec(String(err))?.[0]) as Digest;
        await this.#label(digest, labels);
        return digest;
      }
      if (hasCode(err, Code.FailedPrecondition)) {
        throw fail('corrupt', 'store', `the bytes of ${this.#name()} are not what they should be`, {
          hint: 'They were damaged on the way or at their source; try again.',
          cause: err,
        });
      }
      if (breakOf(err) !== undefined && expected?.digest !== undefined) {
        // The commit may have been done before the connection broke off.
        const digest = expected.digest;
        const there = await connection.find(what, (call) => connection.content.info({ digest }, call));
        if (there !== undefined) {
          await connection.call(what, { again: true }, (call) =>
            connection.leases.addResource(
              { id: leaseName(this.#shared, lease), resource: { type: 'content', id: digest } },
              call,
            ),
          );
          await this.#label(digest, labels);
          return digest;
        }
      }
      throw this.#failure(err, 'storing');
    }
  }

  async #label(digest: Digest, labels: Record<string, string> | undefined): Promise<void> {
    const { connection } = this.#shared;
    const paths = Object.keys(labels ?? {}).map((name) => `labels.${name}`);
    if (paths.length === 0) return;
    await connection.call(`labelling the blob ${digest}`, { again: true }, (call) =>
      connection.content.update({ info: { digest, labels: labels ?? {} }, updateMask: { paths } }, call),
    );
  }

  async abort(keep = false): Promise<void> {
    await this.#queue;
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    await this.#answers.catch(() => {});
    await this.#stream.end().catch(() => {});
    try {
      // After a broken connection containerd knows how many bytes it has.
      if (keep && this.#size > 0) await keepIngest(this.#shared, this.#ref);
      else await dropIngest(this.#shared, this.#ref);
    } catch {
      // containerd is away, and its ingest goes with the lease.
    } finally {
      this.#closed();
    }
  }

  #failure(err: unknown, doing: string): Error {
    if (!(err instanceof DrydockError)) this.#state = 'failed';
    return this.#shared.connection.failure(err, `${doing} ${this.#name()}`);
  }

  #mustBeOpen(): void {
    if (this.#state === 'open') return;
    throw fail('conflict', 'store', `the writer of ${JSON.stringify(this.#ref)} is ${this.#state}`);
  }

  #name(): string {
    return this.#options.expected?.digest ?? JSON.stringify(this.#ref);
  }
}

export function busy(ref: string) {
  return fail('conflict', 'store', `${JSON.stringify(ref)} is being written already`, {
    hint: 'Wait for the other writer to end.',
  });
}

/** Opens the call. containerd locks the ingest for us and tells how many bytes of how many it has. */
async function start(
  shared: ContainerdParts,
  ref: string,
  { lease, expected }: WriterOptions,
): Promise<{ stream: WriteStream; offset: number; total: number }> {
  const stream = new WriteStream(shared.connection, leaseName(shared, lease));
  const sent = stream.send({
    action: WriteAction.STAT,
    ref,
    total: BigInt(expected?.size ?? 0),
    expected: expected?.digest,
  });
  sent.catch(() => {});
  const answer = await stream.receive();
  if (answer === undefined) throw fail('internal', 'store', 'containerd ended a write before it began');
  return { stream, offset: Number(answer.offset), total: Number(answer.total) };
}

async function dropIngest({ connection }: ContainerdParts, ref: string): Promise<void> {
  await connection.find(`removing the ingest ${JSON.stringify(ref)}`, (call) =>
    connection.content.abort({ ref }, call),
  );
}

function keptLease({ names }: ContainerdParts, ref: string): string {
  return names.of(`ingest-${createHash('sha256').update(ref).digest('hex').slice(0, 32)}`);
}

/** Keeps the ingest's bytes for a later resume, even when the lease that they were written under is gone. */
async function keepIngest(shared: ContainerdParts, ref: string): Promise<void> {
  const { connection, names } = shared;
  const id = keptLease(shared, ref);
  const what = `keeping the ingest ${JSON.stringify(ref)}`;
  // The lease is made anew, since its time cannot be prolonged.
  await forgetKept(shared, ref);
  await connection.call(what, { again: true }, async (call) => {
    try {
      await connection.leases.create({ id, labels: names.labels('ingest', { ms: ingestLifeMs }) }, call);
    } catch (err) {
      if (!hasCode(err, Code.AlreadyExists)) throw err;
    }
    await connection.leases.addResource({ id, resource: { type: 'ingests', id: ref } }, call);
  });
}

async function forgetKept(shared: ContainerdParts, ref: string): Promise<void> {
  const { connection } = shared;
  await connection.find('deleting a lease', (call) =>
    connection.leases.delete({ id: keptLease(shared, ref) }, call),
  );
}
