/** What servers said of files, kept under the root: the next build asks whether a file is still the same. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type KeptKey, keptUnder } from '../kept/index.ts';
import type { Digest } from '../oci/index.ts';
import type { Fetched } from './http-fetch.ts';

/** The remembered answer to a request; undefined when there is none, or none that can be read. */
export function rememberedAnswer(root: string, key: KeptKey): Fetched | undefined {
  const dir = keptUnder(root).httpAnswers.peek(key);
  if (dir === undefined) return undefined;
  try {
    const memo = JSON.parse(readFileSync(join(dir, 'answer.json'), 'utf8')) as Partial<Fetched>;
    if (typeof memo.digest !== 'string' || typeof memo.size !== 'number') return undefined;
    return memo as Fetched & { digest: Digest };
  } catch {
    return undefined;
  }
}

/** Keeps an answer in the place of the one before. */
export async function rememberAnswer(
  root: string,
  key: KeptKey,
  fetched: Fetched,
  signal: AbortSignal,
): Promise<void> {
  const held = await keptUnder(root).httpAnswers.take(key, { shared: true, signal });
  try {
    const file = join(await held.data(), 'answer.json');
    const temp = `${file}.${randomUUID()}`;
    await writeFile(temp, JSON.stringify(fetched), { mode: 0o600 });
    await rename(temp, file);
  } finally {
    held.release();
  }
}
