/** Reads a part of a blob. */
import type { IncomingMessage } from 'node:http';
import { canceled, fail } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import type { RegistryContext } from './client.ts';
import { connectionError } from './errors.ts';
import type { RepositoryPlace } from './mirrors.ts';
import { purposeOf, type Transport } from './transport.ts';

/** A part of a blob, in bytes. */
export interface BlobRange {
  offset: number;
  length: number;
}

/**
 * Returns the bytes of one range of a blob, which are held in memory. A connection that breaks off is tried again.
 * Throws `unsupported` when the server does not serve ranges.
 */
export async function blobRange(
  transport: Transport,
  { domain, path, namespace }: RepositoryPlace,
  digest: Digest,
  range: BlobRange,
  ctx: RegistryContext,
): Promise<Buffer> {
  const purpose = purposeOf(`reading a part of ${digest}`, domain, path);
  const last = range.offset + range.length - 1;
  for (let attempt = 0; ; attempt++) {
    const response = await transport.call({
      purpose,
      path,
      namespace,
      method: 'GET',
      at: `blobs/${digest}`,
      headers: { range: `bytes=${range.offset}-${last}` },
      ok: [200, 206, 416],
      credentials: ctx.credentials,
      signal: ctx.signal,
    });
    if (!isRange(response, range)) {
      response.destroy();
      throw fail('unsupported', 'registry', `${purpose.doing}: ${purpose.host} does not serve this range`, {
        hint: 'Its layers must be fetched whole. Those that are lazy stay so until they are pruned: run drydock prune -a, then build with another --snapshotter than stargz.',
        details: { registry: purpose.host, repository: purpose.repository },
      });
    }
    try {
      return await bodyOf(response, range.length);
    } catch (err) {
      if (ctx.signal?.aborted) throw canceled(ctx.signal.reason);
      const failure = connectionError(purpose, err);
      if (failure.code !== 'unavailable' || attempt >= transport.options.retries) throw failure;
    }
    await transport.pause(attempt, ctx.signal);
  }
}

function isRange({ statusCode, headers }: IncomingMessage, { offset, length }: BlobRange): boolean {
  const [, from, to] = /^bytes (\d+)-(\d+)\//.exec(headers['content-range'] ?? '') ?? [];
  return statusCode === 206 && Number(from) === offset && Number(to) === offset + length - 1;
}

async function bodyOf(response: IncomingMessage, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (at + chunk.length > length) break;
    at += chunk.copy(bytes, at);
  }
  if (at === length) return bytes;
  throw Object.assign(new Error('the answer ended early'), { code: 'ECONNRESET' });
}
