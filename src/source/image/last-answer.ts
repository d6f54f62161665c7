/**
 * What registries last said of images, for builds that may not ask them: of a name its digest, and of a digest the
 * documents of one platform. Layers are not among it; they are in the cache, or they are not.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ResolvedDocuments, readDocuments, storeDocuments } from '../../distribution/index.ts';
import { offline } from '../../errors/index.ts';
import { type KeptKey, keptUnder } from '../../kept/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  familiarName,
  formatPlatform,
  formatReference,
  type Platform,
  parseReference,
} from '../../oci/index.ts';
import type { Session } from '../../session/index.ts';
import type { Store } from '../../store/index.ts';

/** An image as a build asks for it: its normalized name, its platform, and whose build asks. */
interface Asked {
  name: string;
  platform: Platform;
  session: Pick<Session, 'tenant'>;
  lease: string;
  signal?: AbortSignal;
}

interface Answer {
  target: Descriptor;
  /** By their digests, in base64; missing in the answer for a name. */
  documents?: Record<string, string>;
}

/** Keeps what a registry has said. It never fails a build: a full disk is the trouble of whoever needs the space. */
export async function rememberImage(store: Store, asked: Asked, found: ResolvedDocuments): Promise<void> {
  try {
    const { target } = found;
    const folders = keptUnder(store.root).imageAnswers;
    const named = keyOf(asked);
    const pinned = keyOf(asked, target.digest);
    if (folders.peek(pinned) === undefined) {
      const documents: Record<string, string> = {};
      for (const digest of new Set([target.digest, found.manifest.digest, found.configDescriptor.digest])) {
        documents[digest] = (await store.content.bytes(digest)).toString('base64');
      }
      await write(store, pinned, { target, documents }, asked.signal);
    }
    if (named.key === pinned.key || read(store, named)?.target.digest === target.digest) return;
    await write(store, named, { target }, asked.signal);
  } catch {
    // An offline build will say that it is not here.
  }
}

/** The image as its registry last said that it is. Throws `unavailable` (hop `registry`) when nothing is kept of it. */
export async function lastImage(store: Store, asked: Asked): Promise<ResolvedDocuments> {
  const { name, platform, lease } = asked;
  const shown = familiarName(name);
  const digest =
    (parseReference(name).digest as Digest | undefined) ?? read(store, keyOf(asked))?.target.digest;
  const answer = digest && read(store, keyOf(asked, digest));
  if (answer === undefined || digest === undefined) {
    throw offline(
      'registry',
      `no image ${shown} for ${formatPlatform(platform)} is here, nor what its registry last said of it`,
      `Pull it before (drydock pull ${shown}), or build once without --offline.`,
    );
  }
  for (const [key, text] of Object.entries(answer.documents ?? {})) {
    const bytes = Buffer.from(text, 'base64');
    if (digestOf(bytes) === key) await store.content.put(bytes, { lease });
  }
  const documents = storeDocuments(store, shown);
  const found = await readDocuments(store, documents, answer.target, platform, lease);
  return { ...found, ref: formatReference({ ...parseReference(name), digest }), local: false };
}

/** `digest`: the key of what is kept of the digest, rather than of the name. */
function keyOf({ name, platform, session }: Asked, digest?: Digest): KeptKey {
  const { domain, path, digest: own } = parseReference(name);
  const pinned = digest ?? own;
  const image = pinned === undefined ? name : formatReference({ domain, path, digest: pinned });
  const text = formatPlatform(platform);
  return {
    key: JSON.stringify([image, text]),
    name: `${familiarName(image)} (${text})`,
    owner: session.tenant?.id,
  };
}

function read(store: Store, key: KeptKey): Answer | undefined {
  const dir = keptUnder(store.root).imageAnswers.peek(key);
  const file = dir && join(dir, 'answer.json');
  if (file === undefined || !existsSync(file)) return undefined;
  try {
    const answer = JSON.parse(readFileSync(file, 'utf8')) as Partial<Answer>;
    return typeof answer.target?.digest === 'string' ? (answer as Answer) : undefined;
  } catch {
    return undefined;
  }
}

async function write(
  store: Store,
  key: KeptKey,
  answer: Answer,
  signal = new AbortController().signal,
): Promise<void> {
  const held = await keptUnder(store.root).imageAnswers.take(key, { shared: true, signal });
  try {
    const file = join(await held.data(), 'answer.json');
    const temp = `${file}.${randomUUID()}`;
    await writeFile(temp, JSON.stringify(answer), { mode: 0o600 });
    await rename(temp, file);
  } finally {
    held.release();
  }
}
