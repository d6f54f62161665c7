/** `http://…` and `https://…`: one file, named by its bytes and its time. ETag and Last-Modified spare transfers. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../errors/index.ts';
import { algorithmOf, type Checksum, type ChecksumAlgorithm, digestOf } from '../oci/index.ts';
import type { SourceOp } from '../pb/solver/pb/ops_pb.js';
import type { Ref } from '../store/index.ts';
import { sourceOf } from './attrs.ts';
import type { SourceDeps, SourceMaker } from './deps.ts';
import { type Fetched, shown } from './http-fetch.ts';
import { type HttpContext, HttpFile } from './http-file.ts';
import { httpOptions, modifiedOf, nameOf, pathName } from './http-spec.ts';
import { fileTree } from './single-file.ts';

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
        used: digest && { kind: 'http', url, digest, lastModified: known?.lastModified },
      };
    },
    async exec(_, ctx): Promise<Ref[]> {
      const { dir, fetched } = await job.file(ctx);
      await check(url, wanted, fetched, async () => join(dir, 'body'), ctx.signal);
      const target = filename ?? nameOf(url, fetched);
      const modified = modifiedOf(fetched);
      const tree = await fileTree(deps, dir, { ...look, kind: 'http', name: target, modified }, ctx);
      await rm(dir, { recursive: true, force: true });
      return [tree];
    },
  };
};

/**
 * Checks a file against the checksum that it was promised to have; `file` gives its path where it must be read once
 * more. Throws `corrupt`, with both digests.
 */
async function check(
  url: string,
  wanted: Checksum | undefined,
  { digest }: Fetched,
  file: () => Promise<string>,
  signal: AbortSignal,
): Promise<void> {
  if (wanted === undefined) return;
  const algorithm = algorithmOf(wanted);
  const actual = algorithm === 'sha256' ? digest : await checksumOf(await file(), { algorithm }, signal);
  if (actual === wanted) return;
  throw fail('corrupt', 'http', `digest mismatch ${actual}: ${wanted}`, {
    hint: `The file at ${shown(url)} has the first digest, and its checksum promises the second.`,
    details: { url: shown(url), expected: wanted, actual },
  });
}

/** The facts about a URL's file, once the server was asked. */
interface HttpMeta {
  /** By the algorithm of the checksum that the source has; by sha256 if it has none. */
  digest: Checksum;
  filename: string;
  /** Last-Modified as the server sent it. */
  lastModified?: string;
  /** The checksum of the file with the bytes that were to be put behind it: `sha512:…`. */
  checksum?: Checksum;
}

/** The digest that is to be made of a file with `suffix` behind it: signatures of files sign such a digest. */
export interface HttpChecksum {
  algorithm: ChecksumAlgorithm;
  suffix?: Uint8Array;
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
  await check(url, wanted, found, () => file.body(ctx), ctx.signal);
  const { digest, lastModified } = found;
  const checksum = asked && (await checksumOf(await file.body(ctx), asked, ctx.signal));
  await file.leave(ctx);
  return { digest: wanted ?? digest, filename: filename ?? nameOf(url, found), lastModified, checksum };
}

async function checksumOf(
  file: string,
  { algorithm, suffix = new Uint8Array() }: HttpChecksum,
  signal: AbortSignal,
): Promise<Checksum> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(file, { signal })) hash.update(chunk as Buffer);
  return `${algorithm}:${hash.update(suffix).digest('hex')}`;
}
