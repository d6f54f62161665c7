/** `http://…` and `https://…`: one file, named by its bytes and its time. ETag and Last-Modified spare transfers. */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { constants, copyFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addAbortSignal } from 'node:stream';
import { fail, throwIfAborted, toDrydockError } from '../errors/index.ts';
import { type KeptKey, keptUnder } from '../kept/index.ts';
import { nameOfEscaped } from '../linux/index.ts';
import { type Digest, digestOf, parseDigest } from '../oci/index.ts';
import type { SourceOp } from '../pb/solver/pb/ops_pb.js';
import { uploadHost } from '../session/index.ts';
import type { OpContext } from '../solver/index.ts';
import type { Ref } from '../store/index.ts';
import { attrReader, sourceOf } from './attrs.ts';
import type { SourceDeps, SourceMaker } from './deps.ts';
import { type HttpAuth, httpAuth } from './http-auth.ts';
import { download, type Fetched, isFileName, save, shown, stillHas } from './http-fetch.ts';
import type { Signature } from './signature.ts';
import { type FileLook, fetchFolder, fileTree, readFileLook } from './single-file.ts';

/** The headers that a definition may set, as in BuildKit. */
const settable = ['accept', 'user-agent'];

export const httpSource: SourceMaker = (vertex, deps) => {
  const options = httpOptions(sourceOf(vertex));
  const { url, filename, checksum: wanted, look, signed } = options;
  const job = new HttpFile(options, [filename, look], deps);
  // What is in the cache under it was verified with it.
  const bySignature = signed === undefined ? [] : [signed];

  return {
    async cacheMap(ctx) {
      // With a checksum there is nothing to ask the server before the file itself is needed.
      const known = wanted === undefined ? await job.look(ctx) : undefined;
      const name = filename ?? (wanted === undefined ? nameOf(url, known) : [pathName(url)]);
      const times = known === undefined ? [] : [modifiedOf(known)];
      const key = [
        wanted ?? known?.digest,
        name,
        look,
        ...times,
        ...bySignature,
        ...(await job.ownedBy(ctx)),
      ];
      const digest = wanted ?? known?.digest;
      return {
        digest: digestOf(`http ${JSON.stringify(key)}`),
        deps: [],
        used: digest && { kind: 'http', url, digest },
      };
    },
    async exec(_, ctx): Promise<Ref[]> {
      const { dir, fetched } = await job.file(ctx);
      checkDigest(url, fetched, wanted);
      const target = filename ?? nameOf(url, fetched);
      const modified = modifiedOf(fetched);
      const tree = await fileTree(deps, dir, { ...look, kind: 'http', name: target, modified }, ctx);
      await rm(dir, { recursive: true, force: true });
      return [tree];
    },
  };
};

function checkDigest(url: string, { digest }: Fetched, wanted: Digest | undefined): void {
  if (wanted === undefined || digest === wanted) return;
  throw fail('corrupt', 'http', `digest mismatch ${digest}: ${wanted}`, {
    hint: `The file at ${shown(url)} is not the one its checksum promises.`,
    details: { url: shown(url), expected: wanted, actual: digest },
  });
}

interface HttpSpec {
  url: string;
  filename?: string;
  checksum?: Digest;
  look: FileLook;
  headers: Record<string, string>;
  authSecret?: string;
  signed?: Signature;
}

/** Reads the options of an http source. Throws `invalid` and `unsupported` for wrong ones. */
function httpOptions({ identifier: url, attrs }: SourceOp): HttpSpec {
  const read = attrReader(attrs, shown(url));
  if (!URL.canParse(url)) throw fail('invalid', 'http', `invalid URL ${JSON.stringify(shown(url))}`);
  const checksum = read.text('http.checksum');
  const filename = read.text('http.filename');
  if (filename !== undefined && !isFileName(filename)) {
    throw fail('invalid', 'llb', `invalid http.filename ${JSON.stringify(filename)}`);
  }
  const headers: Record<string, string> = {};
  for (const name of settable) {
    const value = read.text(`http.header.${name}`);
    if (value !== undefined) headers[name] = value;
  }
  const authSecret = read.text('http.authheadersecret');
  const look = readFileLook(read);
  const signature = read.text('http.sig.signature');
  const keys = read.text('http.sig.pubkey');
  read.done();
  if ((signature === undefined) !== (keys === undefined)) {
    throw fail('invalid', 'llb', 'http signature verification requires both pubkey and signature');
  }
  const signed = signature === undefined || keys === undefined ? undefined : { signature, keys };
  const wanted = checksum === undefined ? undefined : parseDigest(checksum);
  return { url, filename, checksum: wanted, look, headers, authSecret, signed };
}

/** The time of the file, in ms since the epoch. Equal bytes with another time are another file. */
function modifiedOf({ lastModified }: Fetched): number {
  return Date.parse(lastModified ?? '') || 0;
}

/** The facts about a URL's file, once the server was asked. */
interface HttpMeta {
  digest: Digest;
  filename: string;
  /** Last-Modified as the server sent it. */
  lastModified?: string;
  /** The checksum of the file with the bytes that were to be put behind it: `sha512:…`. */
  checksum?: string;
}

/** The digest that is to be made of a file with `suffix` behind it: signatures of files sign such a digest. */
export interface HttpChecksum {
  algorithm: 'sha256' | 'sha384' | 'sha512';
  suffix: Uint8Array;
}

/** Asks the server without making a tree. A file that is downloaded on the way is kept as long as the context. */
export async function httpMeta(
  source: SourceOp,
  deps: Pick<SourceDeps, 'store'>,
  ctx: HttpContext,
  asked?: HttpChecksum,
): Promise<HttpMeta> {
  const options = httpOptions(source);
  const { url, filename, checksum: wanted } = options;
  const file = new HttpFile(options, ['only asked'], deps);
  const found = await file.look(ctx);
  checkDigest(url, found, wanted);
  const { digest, lastModified } = found;
  const checksum = asked && (await checksumOf(await file.body(ctx), asked, ctx.signal));
  await file.leave(ctx);
  return { digest, filename: filename ?? nameOf(url, found), lastModified, checksum };
}

async function checksumOf(
  file: string,
  { algorithm, suffix }: HttpChecksum,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(file, { signal })) hash.update(chunk as Buffer);
  return `${algorithm}:${hash.update(suffix).digest('hex')}`;
}

type HttpContext = Pick<OpContext, 'session' | 'signal' | 'onRelease' | 'pins'> & {
  progress: Pick<OpContext['progress'], 'report'>;
};

function pathName(url: string): string {
  const last = new URL(url).pathname.split('/').at(-1) ?? '';
  try {
    const name = nameOfEscaped(last);
    return isFileName(name) ? name : 'download';
  } catch {
    return isFileName(last) ? last : 'download';
  }
}

function nameOf(url: string, fetched: { filename?: string } | undefined): string {
  return fetched?.filename ?? pathName(url);
}

/** A folder with the downloaded file `body`. */
interface Download {
  dir: string;
  fetched: Fetched;
}

/** The file of a URL: what is remembered of it, and the download once there is one. */
class HttpFile {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #authSecret: string | undefined;
  readonly #signed: Signature | undefined;
  readonly #result: readonly unknown[];
  readonly #deps: Pick<SourceDeps, 'store'>;
  #downloaded: Download | undefined;
  #known: Fetched | undefined;
  #auth: Promise<HttpAuth | undefined> | undefined;

  /** `result` names the form that the file is made into. */
  constructor(
    { url, headers, authSecret, signed }: HttpSpec,
    result: readonly unknown[],
    deps: Pick<SourceDeps, 'store'>,
  ) {
    this.#url = url;
    this.#headers = headers;
    this.#authSecret = authSecret;
    this.#signed = signed;
    this.#result = result;
    this.#deps = deps;
  }

  /** The server's answer when the build first asked. */
  async look(ctx: HttpContext): Promise<Fetched> {
    const find = () => this.#ask(ctx);
    this.#known = ctx.pins === undefined ? await find() : await ctx.pins.pin(this.#pinKey(), find);
    return this.#known;
  }

  /** Leaves the download to other vertices of the same build that need the file. */
  async leave({ pins }: HttpContext): Promise<void> {
    const downloaded = this.#downloaded;
    if (downloaded === undefined) return;
    await pins?.pin(`${this.#pinKey()} body`, async () => downloaded);
  }

  /** The tenant that has got the file with credentials: others do not get it from here. Empty: it is everybody's. */
  async ownedBy(ctx: HttpContext): Promise<[] | [string]> {
    const { tenant } = ctx.session;
    if (tenant === undefined) return [];
    const isPublic = new URL(this.#url).username === '' && (await this.#authOf(ctx)) === undefined;
    return isPublic ? [] : [tenant.id];
  }

  /** The client's credentials, asked for once. */
  #authOf({ session }: HttpContext): Promise<HttpAuth | undefined> {
    if (this.#isUpload()) return Promise.resolve(undefined);
    this.#auth ??= httpAuth(this.#url, this.#authSecret, session).catch((err) => {
      this.#auth = undefined;
      throw toDrydockError(err, 'http');
    });
    return this.#auth;
  }

  /** Whether the file is the client's own, and no server's. */
  #isUpload(): boolean {
    return new URL(this.#url).host === uploadHost;
  }

  async #headersFor(ctx: HttpContext): Promise<Record<string, string>> {
    const auth = await this.#authOf(ctx);
    return { ...this.#headers, ...(auth && { authorization: auth.authorization }) };
  }

  /** The server's answer now. The file is downloaded when the remembered answer is out of date. */
  async #ask(ctx: HttpContext): Promise<Fetched> {
    const memo = await this.#memo(ctx);
    if (memo?.etag !== undefined) {
      const options = { headers: await this.#headersFor(ctx), signal: ctx.signal };
      if (await stillHas(this.#url, memo.etag, options)) return memo;
    }
    const conditions: Record<string, string> = {};
    if (memo?.etag !== undefined) conditions['if-none-match'] = memo.etag;
    else if (memo?.lastModified !== undefined) conditions['if-modified-since'] = memo.lastModified;
    const fetched = await this.#download(ctx, conditions);
    if (fetched === undefined && memo !== undefined) return memo;
    if (fetched === undefined)
      throw fail('failed', 'http', `${shown(this.#url)}: the server answered 304 unasked`);
    return fetched;
  }

  /** The folder of the downloaded file. It is the caller's from now on. */
  async file(ctx: HttpContext): Promise<Download> {
    const downloaded = await this.#need(ctx);
    this.#downloaded = undefined;
    return downloaded;
  }

  /** The downloaded file's path. */
  async body(ctx: HttpContext): Promise<string> {
    return join((await this.#need(ctx)).dir, 'body');
  }

  async #need(ctx: HttpContext): Promise<Download> {
    this.#downloaded ??= await this.#left(ctx);
    if (this.#downloaded === undefined) {
      const fetched = await this.#download(ctx, {});
      if (fetched !== undefined && this.#known !== undefined && fetched.digest !== this.#known.digest) {
        throw fail('unavailable', 'http', `${shown(this.#url)} changed while it was being fetched`, {
          hint: 'Build again.',
        });
      }
    }
    const downloaded = this.#downloaded;
    if (downloaded === undefined) throw fail('internal', 'http', `${shown(this.#url)} was not downloaded`);
    return downloaded;
  }

  /** A copy of a download that the build has made before. */
  async #left(ctx: HttpContext): Promise<Download | undefined> {
    const left = (await ctx.pins?.get(`${this.#pinKey()} body`)) as Download | undefined;
    if (left === undefined) return undefined;
    const dir = await fetchFolder(this.#deps, 'http');
    ctx.onRelease?.(() => rm(dir, { recursive: true, force: true }));
    await copyFile(join(left.dir, 'body'), join(dir, 'body'), constants.COPYFILE_FICLONE);
    return { dir, fetched: left.fetched };
  }

  /** The key by which a build pins a server's answer. */
  #pinKey(): string {
    return `http ${JSON.stringify([this.#url, this.#headers, this.#authSecret, this.#signed])}`;
  }

  async #download(ctx: HttpContext, conditions: Record<string, string>): Promise<Fetched | undefined> {
    const dir = await fetchFolder(this.#deps, 'http');
    ctx.onRelease?.(() => rm(dir, { recursive: true, force: true }));
    const status = `downloading ${shown(this.#url)}`;
    let told = 0;
    try {
      const report = (current: number, total: number) => {
        if (performance.now() - told < 100) return;
        told = performance.now();
        ctx.progress.report(status, { current, total });
      };
      const fetched = this.#isUpload()
        ? await this.#pull(ctx, join(dir, 'body'), (current) => report(current, 0))
        : await download(this.#url, join(dir, 'body'), {
            headers: { ...(await this.#headersFor(ctx)), ...conditions },
            signal: ctx.signal,
            report,
          });
      if (fetched === undefined) {
        await rm(dir, { recursive: true, force: true });
        return undefined;
      }
      ctx.progress.report(status, { current: fetched.size, total: fetched.size, done: true });
      if (this.#signed !== undefined) {
        const { verifyPgp } = await import('./signature.ts');
        const { runDir } = this.#deps.store;
        await verifyPgp(join(dir, 'body'), this.#signed, { runDir, signal: ctx.signal });
      }
      this.#downloaded = { dir, fetched };
      await this.#remember(fetched, ctx);
      return fetched;
    } catch (err) {
      await rm(dir, { recursive: true, force: true });
      throw toDrydockError(err, 'http');
    }
  }

  /** Takes a file that is the client's own and no server's, such as a context on its stdin. */
  async #pull(ctx: HttpContext, file: string, report: (current: number) => void): Promise<Fetched> {
    const { pathname } = new URL(this.#url);
    const stream = await ctx.session.upload(pathname.slice(1));
    if (stream === undefined) {
      throw fail('not-found', 'context', `the client offers no upload ${JSON.stringify(pathname)}`);
    }
    addAbortSignal(ctx.signal, stream);
    try {
      return await save(stream, file, report);
    } catch (err) {
      throwIfAborted(ctx.signal);
      throw err;
    } finally {
      stream.destroy();
    }
  }

  /**
   * The key of a remembered answer. An answer holds for the same request only: for its URL, its headers, and the owner
   * of the secret it was asked with. And it holds for the same result: there is no record of another result yet, and
   * the file is needed then, whatever the server says.
   */
  async #memoKey(ctx: HttpContext): Promise<KeptKey> {
    const secret = (await this.#authOf(ctx))?.secret;
    const key = JSON.stringify([this.#url, this.#headers, secret, this.#signed, this.#result]);
    const [owner] = await this.ownedBy(ctx);
    return { key, name: shown(this.#url), owner };
  }

  async #memo(ctx: HttpContext): Promise<Fetched | undefined> {
    const dir = keptUnder(this.#deps.store.root).httpAnswers.peek(await this.#memoKey(ctx));
    if (dir === undefined) return undefined;
    try {
      const memo = JSON.parse(readFileSync(join(dir, 'answer.json'), 'utf8')) as Partial<Fetched>;
      if (typeof memo.digest !== 'string' || typeof memo.size !== 'number') return undefined;
      return memo as Fetched & { digest: Digest };
    } catch {
      return undefined;
    }
  }

  async #remember(fetched: Fetched, ctx: HttpContext): Promise<void> {
    if (fetched.etag === undefined && fetched.lastModified === undefined) return;
    const { httpAnswers } = keptUnder(this.#deps.store.root);
    const held = await httpAnswers.take(await this.#memoKey(ctx), { shared: true, signal: ctx.signal });
    try {
      const file = join(await held.data(), 'answer.json');
      const temp = `${file}.${randomUUID()}`;
      await writeFile(temp, JSON.stringify(fetched), { mode: 0o600 });
      await rename(temp, file);
    } finally {
      held.release();
    }
  }
}
