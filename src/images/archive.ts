/**
 * Reads an image archive once, from front to back. Blobs go into content as they come; small documents are kept here.
 */
import { DrydockError, fail, throwIfAborted } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import type { ReportStatus } from '../progress/index.ts';
import { type ContentWriter, type Store, unlessThere } from '../store/index.ts';
import {
  cleanTarPath,
  decompress,
  detectBytes,
  detectCompression,
  type StreamCompression,
  type TarEntry,
  TarParser,
} from '../tar/index.ts';

interface ArchivedBlob {
  digest: Digest;
  size: number;
  compression: StreamCompression;
}

interface ArchiveContext {
  lease: string;
  signal?: AbortSignal;
  report?: ReportStatus;
  /** Blobs that are read past and not kept. */
  leaveOut?: { has(digest: Digest): boolean };
}

type Event = { kind: 'entry'; entry: TarEntry } | { kind: 'data'; chunk: Uint8Array } | { kind: 'end' };

const maxDocument = 16 << 20;
const maxDocuments = 64 << 20;
const maxFiles = 100_000;

/** An archive that has been read. */
export class Archive {
  /** The files `index.json`, `manifest.json`, `oci-layout` and `repositories` at the archive's root. */
  readonly documents = new Map<string, Buffer>();
  readonly #blobs = new Map<string, ArchivedBlob>();
  readonly #links = new Map<string, string>();
  readonly #sparse = new Set<string>();
  readonly #store: Store;
  readonly #ctx: ArchiveContext;
  #documentBytes = 0;
  #files = 0;
  #current: Current | undefined;

  private constructor(store: Store, ctx: ArchiveContext) {
    this.#store = store;
    this.#ctx = ctx;
  }

  /**
   * Reads a whole archive, compressed or not, into content. Throws `corrupt` for an unsound archive and for blobs that
   * do not have the digests in their names, `exhausted` for absurd documents, `canceled`.
   */
  static async read(store: Store, source: AsyncIterable<Uint8Array>, ctx: ArchiveContext): Promise<Archive> {
    const archive = new Archive(store, ctx);
    const events: Event[] = [];
    const parser = new TarParser(
      {
        entry: (entry) => events.push({ kind: 'entry', entry }),
        data: (chunk) => events.push({ kind: 'data', chunk }),
        end: () => events.push({ kind: 'end' }),
      },
      { hop: 'client' },
    );
    // The parser is synchronous and its chunks are parts of the pushed portion, which is kept until all chunks are
    // written.
    const drain = async () => {
      for (const event of events) await archive.#take(event);
      events.length = 0;
    };
    try {
      for await (const chunk of decompress(source, { hop: 'client' })) {
        throwIfAborted(ctx.signal);
        parser.push(chunk);
        await drain();
      }
      parser.finish();
      await drain();
    } finally {
      await archive.#current?.writer?.abort();
    }
    return archive;
  }

  /** The blob of a path in the archive, after following links. Throws `corrupt` for a sparse file. */
  blob(path: string): ArchivedBlob | undefined {
    let at = cleanTarPath(path);
    for (let hops = 0; hops < 16; hops++) {
      if (this.#sparse.has(at)) throw bad(`${at} is a sparse file`);
      const found = this.#blobs.get(at);
      if (found !== undefined) return found;
      const next = this.#links.get(at);
      if (next === undefined) return undefined;
      at = next;
    }
    return undefined;
  }

  async #take(event: Event): Promise<void> {
    if (event.kind === 'entry') this.#current = await this.#begin(event.entry);
    else if (event.kind === 'data') await this.#current?.data(event.chunk);
    else {
      const current = this.#current;
      await current?.end();
      this.#current = undefined;
    }
  }

  async #begin(entry: TarEntry): Promise<Current | undefined> {
    const { path, size } = entry;
    if (++this.#files > maxFiles) throw bad(`it has more than ${maxFiles} files`, 'exhausted');
    if (entry.type === 'symlink' || entry.type === 'hardlink') {
      const target = entry.type === 'symlink' ? joined(path, entry.link ?? '') : (entry.link ?? '');
      if (target !== undefined) this.#links.set(path, target);
      return undefined;
    }
    if (entry.type !== 'file') return undefined;
    if (/^(index\.json|manifest\.json|oci-layout|repositories)$/.test(path))
      return this.#document(path, size);
    const name = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(path)?.[1];
    if (entry.sparse !== undefined) {
      this.#sparse.add(path);
      return undefined;
    }
    // Builders name configs and layers as they like, and manifest.json, which tells them apart, may come last.
    return this.#blob(path, size, name === undefined ? undefined : (`sha256:${name}` as Digest));
  }

  #document(path: string, size: number): Current {
    this.#documentBytes += size;
    if (size > maxDocument || this.#documentBytes > maxDocuments)
      throw bad(`its ${path} has ${size} bytes`, 'exhausted');
    const parts: Buffer[] = [];
    return {
      data: async (chunk) => void parts.push(Buffer.from(chunk)),
      end: async () => void this.documents.set(path, Buffer.concat(parts)),
    };
  }

  async #blob(path: string, size: number, digest: Digest | undefined): Promise<Current> {
    const { content } = this.#store;
    const { lease, report } = this.#ctx;
    let head = Buffer.alloc(0);
    let current = 0;
    const id = digest ?? path;
    const note = (chunk: Uint8Array) => {
      if (head.length < detectBytes)
        head = Buffer.concat([head, chunk.subarray(0, detectBytes - head.length)]);
      current += chunk.length;
      report?.(id, { current, total: size });
    };
    const keep = (digest: Digest) => {
      this.#blobs.set(path, { digest, size, compression: detectCompression(head) });
      report?.(id, { current: size, total: size, done: true });
    };
    const expected = { digest, size };
    const isLeftOut = digest !== undefined && (this.#ctx.leaveOut?.has(digest) ?? false);
    const open = isLeftOut
      ? undefined
      : await unlessThere(content.writer(`load-${crypto.randomUUID()}`, { lease, expected }));
    if (open === undefined)
      return { data: async (chunk) => note(chunk), end: async () => keep(digest as Digest) };
    return {
      writer: open,
      async data(chunk) {
        note(chunk);
        await open.write(chunk);
      },
      async end() {
        try {
          keep((await open.commit()).digest);
        } catch (err) {
          if (err instanceof DrydockError && err.code === 'corrupt') {
            throw fail('corrupt', 'client', `the image archive is damaged: ${path}: ${err.message}`, {
              cause: err,
            });
          }
          throw err;
        }
      },
    };
  }
}

interface Current {
  writer?: ContentWriter;
  data(chunk: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

/** A link's target as a path in the archive; undefined when it leads out of it. */
function joined(path: string, link: string): string | undefined {
  if (link.startsWith('/')) return undefined;
  const parts = path.split('/').slice(0, -1);
  for (const part of link.split('/')) {
    if (part === '..') {
      if (parts.pop() === undefined) return undefined;
    } else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

export function bad(why: string, code: 'corrupt' | 'exhausted' | 'unsupported' = 'corrupt'): DrydockError {
  return fail(code, 'client', `cannot load the image archive: ${why}`);
}
