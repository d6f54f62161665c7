/** The file of an http source: asked for, downloaded, verified by its signature, left to other vertices of a build. */
import { constants, copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { addAbortSignal } from 'node:stream';
import { fail, offline, throwIfAborted, toDrydockError } from '../errors/index.ts';
import type { KeptKey } from '../kept/index.ts';
import { uploadHost } from '../session/index.ts';
import type { OpContext } from '../solver/index.ts';
import type { SourceDeps } from './deps.ts';
import { rememberAnswer, rememberedAnswer } from './http-answers.ts';
import { type HttpAuth, httpAuth } from './http-auth.ts';
import { download, type Fetched, save, shown, stillHas } from './http-fetch.ts';
import type { HttpSpec } from './http-spec.ts';
import type { Signature } from './signature.ts';
import { fetchFolder } from './single-file.ts';

/** What asking for a file needs of the vertex or of the build. */
export type HttpContext = Pick<OpContext, 'session' | 'signal' | 'onRelease' | 'pins'> & {
  progress: Pick<OpContext['progress'], 'report'>;
};

/** A folder with the downloaded file `body`. */
interface Download {
  dir: string;
  fetched: Fetched;
}

/** The file of a URL: what is remembered of it, and the download once there is one. */
export class HttpFile {
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
    if (ctx.session.offline && !this.#isUpload()) {
      if (memo !== undefined) return memo;
      throw offline('http', `nothing is known here of ${shown(this.#url)}`);
    }
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
    if (ctx.session.offline && !this.#isUpload()) {
      throw offline('http', `the file of ${shown(this.#url)} is not here`);
    }
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
    return rememberedAnswer(this.#deps.store.root, await this.#memoKey(ctx));
  }

  async #remember(fetched: Fetched, ctx: HttpContext): Promise<void> {
    await rememberAnswer(this.#deps.store.root, await this.#memoKey(ctx), fetched, ctx.signal);
  }
}
