/** The options of http sources, and the names of their files. Pure. */
import { fail } from '../errors/index.ts';
import { nameOfEscaped } from '../linux/index.ts';
import { type Checksum, parseChecksum } from '../oci/index.ts';
import type { SourceOp } from '../pb/solver/pb/ops_pb.js';
import { attrReader } from './attrs.ts';
import { type Fetched, isFileName, shown } from './http-fetch.ts';
import type { Signature } from './signature.ts';
import { type FileLook, readFileLook } from './single-file.ts';

/** The headers that a definition may set, as in BuildKit. */
const settable = ['accept', 'user-agent'];

/** An http source, as its definition has it. */
export interface HttpSpec {
  url: string;
  filename?: string;
  checksum?: Checksum;
  look: FileLook;
  headers: Record<string, string>;
  authSecret?: string;
  signed?: Signature;
}

/** Reads the options of an http source. Throws `invalid` and `unsupported` for wrong ones. */
export function httpOptions({ identifier: url, attrs }: SourceOp): HttpSpec {
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
  const wanted = checksum === undefined ? undefined : parseChecksum(checksum);
  return { url, filename, checksum: wanted, look, headers, authSecret, signed };
}

/** The time of the file, in ms since the epoch. Equal bytes with another time are another file. */
export function modifiedOf({ lastModified }: Fetched): number {
  return Date.parse(lastModified ?? '') || 0;
}

/** The name of the file by the URL's path. */
export function pathName(url: string): string {
  const last = new URL(url).pathname.split('/').at(-1) ?? '';
  try {
    const name = nameOfEscaped(last);
    return isFileName(name) ? name : 'download';
  } catch {
    return isFileName(last) ? last : 'download';
  }
}

/** The name of the file: what the server called it, or the path's last part. */
export function nameOf(url: string, fetched: { filename?: string } | undefined): string {
  return fetched?.filename ?? pathName(url);
}
