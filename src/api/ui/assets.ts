/** The files of the page, as the bundler has made them: a document, and what it loads, whose names have their hashes. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fail } from '../../errors/index.ts';

export interface Asset {
  type: string;
  /** The bytes as they are, and packed by gzip. */
  plain: Buffer;
  packed: Buffer;
  /** Whether the name changes with the bytes, so that it may be kept for ever. */
  lasting: boolean;
  etag: string;
  /** Of the document: the hashes of the script and of the style that are in it, as a Content-Security-Policy has them. */
  inline?: { script: string; style: string };
}

/** The list that the bundler leaves beside the files. */
interface Manifest {
  [name: string]: { type: string; lasting: boolean; hash: string; inline?: Asset['inline'] };
}

/** The page's files lie beside the bundle that runs; a program that runs from the sources takes those in dist. */
function folder(): string {
  const beside = fileURLToPath(new URL('./ui', import.meta.url));
  const found = [beside, fileURLToPath(new URL('../../../dist/ui', import.meta.url))].find((each) =>
    existsSync(join(each, 'manifest.json')),
  );
  if (found !== undefined) return found;
  throw fail('unsupported', 'host', 'this installation has no web page', {
    hint: 'Its bundle lacks the folder `ui`: make it anew with `npm run build`.',
  });
}

let loading: Promise<ReadonlyMap<string, Asset>> | undefined;

/** The files by their names; `index.html` is the document. They are read once. Throws `unsupported` when there are none. */
export function assets(): Promise<ReadonlyMap<string, Asset>> {
  loading ??= load().catch((err) => {
    loading = undefined;
    throw err;
  });
  return loading;
}

async function load(): Promise<ReadonlyMap<string, Asset>> {
  const from = folder();
  const manifest = JSON.parse(await readFile(join(from, 'manifest.json'), 'utf8')) as Manifest;
  const files = Object.entries(manifest).map(async ([name, { type, lasting, hash, inline }]) => {
    const [plain, packed] = await Promise.all([
      readFile(join(from, name)),
      readFile(join(from, `${name}.gz`)),
    ]);
    return [name, { type, lasting, plain, packed, etag: `"${hash}"`, inline }] as const;
  });
  return new Map(await Promise.all(files));
}
