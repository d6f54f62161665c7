/** Streams blobs and survives broken connections. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { canceled, type DrydockError, fail } from '../errors/index.ts';
import type { Descriptor } from '../oci/index.ts';
import type { RegistryContext } from './client.ts';
import { connectionError, type Purpose } from './errors.ts';
import type { RepositoryPlace } from './mirrors.ts';
import { purposeOf, type Transport } from './transport.ts';

type Blob = Pick<Descriptor, 'digest' | 'size'> & { urls?: string[] };

/**
 * Opens a blob at an offset, in the repository or at a URL elsewhere. Rejects when the first answer is an error; later
 * errors are the stream's.
 */
export async function blobStream(
  transport: Transport,
  place: RepositoryPlace,
  blob: Blob,
  ctx: RegistryContext & { offset?: number; unverified?: boolean },
  url?: URL,
): Promise<Readable> {
  const purpose = purposeOf(`pulling ${blob.digest}`, place.domain, place.path);
  const start = ctx.offset ?? 0;
  if (start >= blob.size && blob.size > 0) return Readable.from([], { objectMode: false });
  const open = (offset: number, once: boolean) =>
    openAt(transport, purpose, place, url ?? blob, offset, ctx, once);
  // When there are other places to ask, one try each is enough.
  const first = await open(start, url !== undefined);
  return Readable.from(chunks(transport, purpose, blob, start, first, open, ctx), {
    objectMode: false,
    highWaterMark: 256 << 10,
  });
}

interface Opened {
  response: IncomingMessage;
  /** The bytes to skip: the server began before the requested offset. */
  skip: number;
}

async function openAt(
  transport: Transport,
  purpose: Purpose,
  { path, namespace }: RepositoryPlace,
  what: Blob | URL,
  offset: number,
  ctx: RegistryContext,
  once: boolean,
): Promise<Opened> {
  const response = await transport.call({
    purpose,
    path,
    namespace,
    method: 'GET',
    at: what instanceof URL ? what : `blobs/${what.digest}`,
    headers: offset > 0 ? { range: `bytes=${offset}-` } : {},
    ok: [200, 206],
    credentials: ctx.credentials,
    signal: ctx.signal,
    once,
  });
  if (response.statusCode === 200) return { response, skip: offset };
  const range = /^bytes (\d+)-/.exec(response.headers['content-range'] ?? '');
  const from = Number(range?.[1] ?? Number.NaN);
  if (Number.isNaN(from) || from > offset) {
    response.destroy();
    throw fail(
      'unavailable',
      'registry',
      `${purpose.doing}: ${purpose.host} sent another part of the blob than was asked for`,
    );
  }
  return { response, skip: offset - from };
}

async function* chunks(
  transport: Transport,
  purpose: Purpose,
  blob: Blob,
  start: number,
  first: Opened,
  open: (offset: number, once: boolean) => Promise<Opened>,
  ctx: RegistryContext & { unverified?: boolean },
): AsyncGenerator<Buffer> {
  const hash = start === 0 && !ctx.unverified ? createHash('sha256') : undefined;
  let at = start;
  let opened: Opened | undefined = first;
  for (let attempt = 0; ; attempt++) {
    let failure: DrydockError;
    try {
      opened ??= await open(at, true);
      let { response, skip } = opened;
      for await (let chunk of response as AsyncIterable<Buffer>) {
        if (skip > 0) {
          const cut = Math.min(skip, chunk.length);
          skip -= cut;
          chunk = chunk.subarray(cut);
          if (chunk.length === 0) continue;
        }
        at += chunk.length;
        if (at > blob.size) throw wrong(purpose, blob, `is longer than ${blob.size} bytes`);
        hash?.update(chunk);
        attempt = 0;
        yield chunk;
      }
      if (at === blob.size) {
        if (hash === undefined || `sha256:${hash.digest('hex')}` === blob.digest) return;
        throw wrong(purpose, blob, 'has another digest');
      }
      failure = fail(
        'unavailable',
        'registry',
        `${purpose.doing}: ${purpose.host} ended the blob after ${at} of ${blob.size} bytes`,
        {
          hint: brokenOff,
          details: { registry: purpose.host, repository: purpose.repository },
        },
      );
    } catch (err) {
      if (ctx.signal?.aborted) throw canceled(ctx.signal.reason);
      failure = connectionError(purpose, err);
      if (failure.code !== 'unavailable') throw failure;
    }
    opened = undefined;
    if (attempt >= transport.options.retries) throw failure;
    await transport.pause(attempt, ctx.signal);
  }
}

const brokenOff =
  'The registry or a proxy on the way broke it off. Try again: what has come is kept and gone on from.';

function wrong(purpose: Purpose, blob: Blob, what: string): DrydockError {
  return fail('corrupt', 'registry', `${purpose.doing}: what ${purpose.host} sent ${what}`, {
    hint: 'The registry or a proxy on the way changed it; try again, or tell who runs it.',
    details: { registry: purpose.host, repository: purpose.repository, digest: blob.digest },
  });
}
