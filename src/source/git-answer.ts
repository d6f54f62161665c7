/** The commits that refs were last at, for builds that may not ask their remotes. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { offline } from '../errors/index.ts';
import { type KeptKey, keptUnder } from '../kept/index.ts';
import type { GitRef } from './git-ref.ts';

/** A ref as a build asks for it: of a remote without credentials, and whose answer it is. */
interface AskedRef {
  remote: string;
  ref: string;
  owner: string | undefined;
}

/** Keeps what a ref is at. It never fails a build. */
export async function rememberRef(
  root: string,
  asked: AskedRef,
  found: GitRef,
  signal: AbortSignal,
): Promise<void> {
  if (read(root, asked)?.sha === found.sha) return;
  try {
    const held = await keptUnder(root).gitAnswers.take(keyOf(asked), { shared: true, signal });
    try {
      const file = join(await held.data(), 'answer.json');
      const temp = `${file}.${randomUUID()}`;
      await writeFile(temp, JSON.stringify(found), { mode: 0o600 });
      await rename(temp, file);
    } finally {
      held.release();
    }
  } catch {
    // An offline build will say that it is not here.
  }
}

/** What a ref was last at. Throws `unavailable` (hop `git`) when nothing is kept of it. */
export function lastRef(root: string, asked: AskedRef): GitRef {
  const found = read(root, asked);
  if (found !== undefined) return found;
  throw offline('git', `nothing is known here of ${asked.ref || 'HEAD'} of ${asked.remote}`);
}

function keyOf({ remote, ref, owner }: AskedRef): KeptKey {
  return { key: JSON.stringify([remote, ref]), name: `${ref || 'HEAD'} of ${remote}`, owner };
}

function read(root: string, asked: AskedRef): GitRef | undefined {
  const dir = keptUnder(root).gitAnswers.peek(keyOf(asked));
  if (dir === undefined) return undefined;
  try {
    const { name, sha, commit } = JSON.parse(
      readFileSync(join(dir, 'answer.json'), 'utf8'),
    ) as Partial<GitRef>;
    const all = [name, sha, commit].every((text) => typeof text === 'string');
    return all ? ({ name, sha, commit } as GitRef) : undefined;
  } catch {
    return undefined;
  }
}
