import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type CallOptions, Code } from '@connectrpc/connect';
import { DrydockError, fail } from '../../errors/index.ts';
import { type Digest, digestOf, hex, isDigest } from '../../oci/index.ts';
import { type Info, WriteAction } from '../../pb/containerd/content_pb.js';
import { unlessThere } from '../hold.ts';
import { fileBytes, whenAsked } from '../shared/blob-stream.ts';
import type { BlobInfo, Content, ContentWriter, WriterOptions } from '../store.ts';
import { breakOf, hasCode } from './errors.ts';
import { collectNow } from './gc.ts';
import { lingerLifeMs, noLease } from './lease-names.ts';
import {
  blobFile,
  type ContainerdParts,
  isDamaged,
  labelPaths,
  labelValues,
  leaseName,
  millis,
} from './shared.ts';
import { busy, ContainerdWriter } from './writer.ts';

/** Largest blob that `bytes` reads whole. */
const smallBytes = 32 << 20;
/** Largest blob that goes in one message; containerd takes up to 16 MiB. */
const messageBytes = 4 << 20;

/**
 * The blobs of one of containerd's namespaces. They are written through its API only, and read from its folder where
 * this process can see that (containerd runs on this host), else through the API.
 */
export class ContainerdContent implements Content {
  readonly #shared: ContainerdParts;
  readonly #writers = new Map<string, ContainerdWriter | undefined>();

  constructor(shared: ContainerdParts) {
    this.#shared = shared;
  }

  async info(digest: Digest): Promise<BlobInfo | undefined> {
    const { connection } = this.#shared;
    if (!isDigest(digest)) return undefined;
    const found = await connection.find(`looking for the blob ${digest}`, (call) =>
      connection.content.info({ digest }, call),
    );
    if (found?.info === undefined) return undefined;
    const info = toInfo(found.info);
    return isDamaged(this.#shared, digest, info.size) ? undefined : info;
  }

  async linger(digest: Digest): Promise<void> {
    const { connection, names } = this.#shared;
    const id = names.of(`linger-${hex(digest)}`);
    const resource = { id: digest, type: 'content' };
    const labels = names.labels('linger', { ms: lingerLifeMs });
    await connection.call('keeping a blob for a while', { again: true }, async (call) => {
      try {
        await connection.leases.create({ id, labels }, call);
      } catch (err) {
        // It lingers already, and is made anew later if it must be.
        if (!hasCode(err, Code.AlreadyExists)) throw err;
      }
      await connection.leases.addResource({ id, resource }, call);
    });
  }

  async #must(digest: Digest): Promise<BlobInfo> {
    const info = await this.info(digest);
    if (info === undefined) throw missing(digest);
    return info;
  }

  /** Streams a blob. Throws `not-found`, `invalid` for a range outside of it, `unavailable`. */
  async read(digest: Digest, range: { offset?: number; length?: number } = {}): Promise<Readable> {
    const { size } = await this.#must(digest);
    const offset = range.offset ?? 0;
    const length = Math.min(range.length ?? size, size - offset);
    if (!Number.isSafeInteger(offset) || offset < 0 || !(length >= 0)) {
      throw fail(
        'invalid',
        'store',
        `no bytes ${offset} to ${offset + length} in ${digest} of ${size} bytes`,
      );
    }
    if (length === 0) return Readable.from([]);
    return whenAsked(() => this.#bytes(digest, size, offset, length));
  }

  /** Reads from containerd's own file if this process can see it, else through the API. */
  async *#bytes(digest: Digest, size: number, offset: number, length: number): AsyncGenerator<Uint8Array> {
    const path = blobFile(this.#shared, digest, size);
    let begun = false;
    if (path !== undefined) {
      try {
        for await (const chunk of fileBytes(path, offset, length)) {
          begun = true;
          yield chunk;
        }
        return;
      } catch (err) {
        if (begun) throw err;
      }
    }
    yield* this.#stream(digest, offset, length);
  }

  /** Reads through the API; when containerd restarts in the middle, continues at the same byte. */
  async *#stream(digest: Digest, offset: number, length: number): AsyncGenerator<Uint8Array> {
    const { connection } = this.#shared;
    const end = offset + length;
    const what = `reading the blob ${digest}`;
    for (let at = offset, tries = 0; ; ) {
      try {
        const range = { digest, offset: BigInt(at), size: BigInt(end - at) };
        for await (const { data } of connection.content.read(range, connection.options())) {
          at += data.byteLength;
          tries = 0;
          yield data;
        }
        if (at === end) return;
        throw fail('corrupt', 'store', `${what}: containerd gave ${at - offset} of ${length} bytes`);
      } catch (err) {
        if (breakOf(err) === undefined || tries++ > 0) throw connection.failure(err, what);
        // This waits until containerd answers again.
        await this.#must(digest);
      }
    }
  }

  async bytes(digest: Digest): Promise<Buffer> {
    const { size } = await this.#must(digest);
    if (size > smallBytes) {
      throw fail('invalid', 'store', `${digest} has ${size} bytes: too many to read at once`);
    }
    const path = blobFile(this.#shared, digest, size);
    const known = path === undefined ? undefined : await readFile(path).catch(() => undefined);
    const streamed = async () =>
      size === 0 ? [] : await Readable.from(this.#stream(digest, 0, size)).toArray();
    const bytes = known ?? Buffer.concat(await streamed());
    if (digestOf(bytes) !== digest) throw damaged(digest, 'its file holds other bytes');
    return bytes;
  }

  /** The path of the blob's file in containerd's own folder. */
  async localPath(digest: Digest): Promise<string | undefined> {
    if (this.#shared.blobFolder === undefined) return undefined;
    const info = await this.info(digest);
    return info === undefined ? undefined : blobFile(this.#shared, digest, info.size);
  }

  async writer(ref: string, options: WriterOptions): Promise<ContentWriter> {
    const digest = options.expected?.digest;
    if (digest !== undefined && !isDigest(digest)) {
      throw fail('invalid', 'store', `invalid digest ${JSON.stringify(digest)}`);
    }
    // containerd would notice too, but only after trying for a while.
    if (this.#writers.has(ref)) throw busy(ref);
    this.#writers.set(ref, undefined);
    try {
      const open = () => ContainerdWriter.open(this.#shared, ref, options, () => this.#writers.delete(ref));
      const writer = await open().catch(async (err) => {
        const exists = digest !== undefined && err instanceof DrydockError && err.code === 'exists';
        if (!exists || (await this.info(digest)) !== undefined) throw err;
        await this.#clear(digest);
        return open();
      });
      this.#writers.set(ref, writer);
      return writer;
    } catch (err) {
      this.#writers.delete(ref);
      throw err;
    }
  }

  async put(data: Uint8Array, options: { lease: string; labels?: Record<string, string> }): Promise<Digest> {
    const { connection, passing } = this.#shared;
    const digest = digestOf(data);
    if (data.byteLength > messageBytes) {
      await this.#putBig(digest, data, options);
      return digest;
    }
    if (await this.#keep(digest, data, options)) return digest;
    const ref = `drydock-put-${randomUUID()}`;
    const request = {
      action: WriteAction.COMMIT,
      ref,
      total: BigInt(data.byteLength),
      expected: digest,
      data,
      labels: options.labels ?? {},
    };
    const send = async (call: CallOptions) => {
      for await (const _ of connection.content.write(once(request), call));
    };
    try {
      await connection.raw({ again: true, lease: leaseName(this.#shared, options.lease) }, send);
      await passing.took(options.lease, { type: 'content', id: digest });
    } catch (err) {
      if (hasCode(err, Code.AlreadyExists)) {
        if (!(await this.#holds(digest, data))) {
          await this.#clear(digest);
          return this.put(data, options);
        }
        // The blob is under our lease now.
        await passing.took(options.lease, { type: 'content', id: digest });
        if (Object.keys(request.labels).length > 0) await this.setLabels(digest, request.labels);
        return digest;
      }
      if (hasCode(err, Code.NotFound)) throw noLease(options.lease);
      const what = `storing the blob ${digest}`;
      await connection.find(what, (call) => connection.content.abort({ ref }, call)).catch(() => {});
      throw connection.failure(err, what);
    }
    return digest;
  }

  /** Puts an existing blob with these bytes under the lease and labels it; false when there is no such blob. */
  async #keep(
    digest: Digest,
    data: Uint8Array,
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<boolean> {
    const { connection, passing } = this.#shared;
    if (!passing.has(options.lease)) return false;
    const what = `looking for the blob ${digest}`;
    const ask = () => connection.find(what, (call) => connection.content.info({ digest }, call));
    const thing = { type: 'content', id: digest };
    if (!passing.isTold(options.lease, thing) && (await ask())?.info === undefined) return false;
    await passing.add(options.lease, thing);
    // Nobody can collect it from here on.
    const found = (await ask())?.info;
    if (found === undefined || !(await this.#holds(digest, data))) {
      passing.remove(options.lease, thing);
      return false;
    }
    const labels = Object.entries(options.labels ?? {});
    const missing = labels.filter(([name, value]) => found.labels[name] !== value);
    if (missing.length > 0) await this.setLabels(digest, Object.fromEntries(missing));
    return true;
  }

  /** Whether an existing blob has these bytes; checked if this process can see its file. */
  async #holds(digest: Digest, data: Uint8Array): Promise<boolean> {
    const { blobFolder } = this.#shared;
    if (blobFolder === undefined) return true;
    const found = await readFile(join(blobFolder, hex(digest))).catch(() => undefined);
    return found?.equals(data) === true;
  }

  async #putBig(
    digest: Digest,
    data: Uint8Array,
    options: { lease: string; labels?: Record<string, string> },
  ): Promise<void> {
    const { lease, labels } = options;
    const expected = { digest, size: data.byteLength };
    const writer = await unlessThere(this.writer(`drydock-put-${randomUUID()}`, { lease, expected }));
    if (writer === undefined) {
      if (labels !== undefined && Object.keys(labels).length > 0) await this.setLabels(digest, labels);
      return;
    }
    try {
      await writer.write(data);
      await writer.commit(labels);
    } catch (err) {
      await writer.abort();
      throw err;
    }
  }

  async setLabels(digest: Digest, labels: Record<string, string | undefined>): Promise<void> {
    const { connection } = this.#shared;
    if (!isDigest(digest)) throw missing(digest);
    const paths = labelPaths(labels);
    // Without paths containerd would replace all labels.
    if (paths.length === 0) {
      await this.#must(digest);
      return;
    }
    const done = await connection.find(`labelling the blob ${digest}`, (call) =>
      connection.content.update(
        { info: { digest, labels: labelValues(labels) }, updateMask: { paths } },
        call,
      ),
    );
    if (done === undefined) throw missing(digest);
  }

  async list(): Promise<BlobInfo[]> {
    const { connection } = this.#shared;
    const blobs = await connection.call('listing blobs', { again: true }, async (call) => {
      const all: BlobInfo[] = [];
      for await (const { info } of connection.content.list({}, call)) all.push(...info.map(toInfo));
      return all;
    });
    return blobs.sort((a, b) => a.createdAt - b.createdAt || (a.digest < b.digest ? -1 : 1));
  }

  /**
   * Deletes a blob and waits until its file is gone too (unless another namespace has the blob): a new write would find
   * the file otherwise.
   */
  async delete(digest: Digest): Promise<void> {
    const { connection } = this.#shared;
    const done = isDigest(digest)
      ? await connection.find(`deleting the blob ${digest}`, (call) =>
          connection.content.delete({ digest }, call),
        )
      : undefined;
    if (done === undefined) throw missing(digest);
    await collectNow(this.#shared);
  }

  /** Removes the rest of a damaged blob, unless somebody else has. */
  async #clear(digest: Digest): Promise<void> {
    await this.delete(digest).catch((err) => {
      if (!(err instanceof DrydockError) || err.code !== 'not-found') throw err;
    });
  }

  /** Ends the writers that are still open and removes their bytes. */
  async close(): Promise<void> {
    await Promise.all([...this.#writers.values()].map((writer) => writer?.abort().catch(() => {})));
  }
}

/** The folder of containerd's blobs, if this process can see it. */
export function readableBlobs(contentRoot: string | undefined): string | undefined {
  if (contentRoot === undefined) return undefined;
  const folder = join(contentRoot, 'blobs', 'sha256');
  return existsSync(join(contentRoot, 'ingest')) ? folder : undefined;
}

async function* once<T>(message: T): AsyncGenerator<T> {
  yield message;
}

function missing(digest: Digest) {
  return fail('not-found', 'store', `there is no blob ${digest}`);
}

function damaged(digest: Digest, why: string) {
  return fail('corrupt', 'store', `the blob ${digest} is damaged in containerd: ${why}`, {
    hint: 'Run `drydock doctor --verify`, then pull or build it again.',
  });
}

function toInfo({ digest, size, labels, createdAt }: Info): BlobInfo {
  return {
    digest: digest as Digest,
    size: Number(size),
    labels: { ...labels },
    createdAt: millis(createdAt),
  };
}
