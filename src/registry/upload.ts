/** Puts blobs into a registry: mounted from another repository, or streamed in one piece. */
import { type Readable, Transform } from 'node:stream';
import { DrydockError, fail } from '../errors/index.ts';
import type { Descriptor } from '../oci/index.ts';
import type { RegistryContext } from './client.ts';
import type { HttpResponse } from './http.ts';
import { purposeOf, type Transport } from './transport.ts';

/** Opens the bytes from their beginning; called once for each try. */
export type UploadSource = () => Promise<Readable | Uint8Array>;

/**
 * Uploads a blob without asking whether the registry has it. A try that breaks off begins a new upload.
 *
 *     await pushBlob(transport, 'docker.io', 'me/app', layer, openLayer, { mount: 'library/alpine' });
 */
export async function pushBlob(
  transport: Transport,
  domain: string,
  path: string,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  open: UploadSource,
  ctx: RegistryContext & { mount?: string; onProgress?: (sent: number) => void },
): Promise<'mounted' | 'pushed'> {
  const purpose = purposeOf(`pushing ${blob.digest}`, domain, path, true);
  const { credentials, signal } = ctx;
  const begin = (query: string, alsoPull?: string) =>
    transport.call({
      purpose,
      path,
      method: 'POST',
      at: `blobs/uploads/${query}`,
      headers: { 'content-length': '0' },
      ok: [201, 202],
      alsoPull,
      credentials,
      signal,
    });
  let upload: HttpResponse | undefined;
  if (ctx.mount !== undefined) {
    const query = `?mount=${encodeURIComponent(blob.digest)}&from=${encodeURIComponent(ctx.mount)}`;
    try {
      const answer = await begin(query, ctx.mount);
      answer.resume();
      if (answer.statusCode === 201) return 'mounted';
      upload = answer;
    } catch (err) {
      // Without the right to read the other repository we send the bytes ourselves.
      const soft = err instanceof DrydockError && err.code !== 'canceled' && err.code !== 'unavailable';
      if (!soft) throw err;
    }
  }
  for (let attempt = 0; ; attempt++) {
    if (upload === undefined) {
      upload = await begin('');
      upload.resume();
    }
    const place = upload.headers.location;
    if (place === undefined) {
      throw fail('unavailable', 'registry', `${purpose.doing}: ${purpose.host} named no place to upload to`);
    }
    const url = new URL(place, upload.finalUrl);
    upload = undefined;
    url.searchParams.set('digest', blob.digest);
    try {
      const answer = await transport.call({
        purpose,
        path,
        method: 'PUT',
        at: url,
        headers: { 'content-type': 'application/octet-stream', 'content-length': String(blob.size) },
        body: async () => counted(await open(), blob, ctx.onProgress),
        ok: [200, 201, 204],
        credentials,
        signal,
        once: true,
      });
      answer.resume();
      return 'pushed';
    } catch (err) {
      // 404: the upload is gone, for example after the registry restarted.
      const again =
        err instanceof DrydockError &&
        (err.code === 'unavailable' || (err.code === 'not-found' && err.hop === 'registry'));
      if (!again || attempt >= transport.options.retries) throw err;
      await transport.pause(attempt, signal);
    }
  }
}

/** Counts the sent bytes, and fails when their number differs from the promised one. */
function counted(
  source: Readable | Uint8Array,
  blob: Pick<Descriptor, 'digest' | 'size'>,
  onProgress?: (sent: number) => void,
): Readable | Uint8Array {
  if (source instanceof Uint8Array) return source;
  let sent = 0;
  const through = new Transform({
    highWaterMark: 256 << 10,
    transform(chunk: Buffer, _encoding, done) {
      sent += chunk.length;
      onProgress?.(sent);
      done(sent > blob.size ? wrongSize(blob, sent) : null, chunk);
    },
    flush(done) {
      done(sent === blob.size ? null : wrongSize(blob, sent));
    },
  });
  source.on('error', (err) => through.destroy(err));
  through.on('close', () => source.destroy());
  return source.pipe(through);
}

function wrongSize(blob: Pick<Descriptor, 'digest' | 'size'>, got: number): DrydockError {
  return fail('corrupt', 'store', `the blob ${blob.digest} has ${got} bytes or more, not ${blob.size}`);
}
