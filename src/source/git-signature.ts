/** Signatures of git's commits and annotated tags. https://git-scm.com/docs/gitformat-signature */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fail, throwIfAborted } from '../errors/index.ts';
import type { GitObjects } from './git-commit.ts';
import { signatureStarts, sshStart, verifyPgp, verifySsh } from './signature.ts';

export interface GitVerify {
  keys: string;
  rejectExpired: boolean;
  /** Requires that the ref points at a signed tag. */
  requireTag: boolean;
  /** Looks at the commit's signature, whatever the tag's is. */
  ignoreTag: boolean;
}

/**
 * Throws `denied` unless one of the keys has signed the tag or, when that is not required, the commit. A tag names its
 * commit by hash, and a commit its files.
 */
export async function verifyGit(
  { commit, commitObject, tagObject }: GitObjects,
  verify: GitVerify,
  place: { runDir: string; signal: AbortSignal },
): Promise<void> {
  let flaw: unknown;
  if (!verify.ignoreTag && tagObject !== undefined) {
    try {
      return await verifySigned(tagParts(tagObject), verify, place);
    } catch (err) {
      throwIfAborted(place.signal);
      flaw = err;
    }
  }
  if (verify.requireTag) throw flaw ?? denied('signed tag required but no signed tag found');
  await verifySigned(commitParts(commitObject, commit.length === 64), verify, place);
}

interface Signed {
  data: Buffer;
  signature: string;
}

async function verifySigned(
  signed: Signed | undefined,
  { keys, rejectExpired }: GitVerify,
  { runDir, signal }: { runDir: string; signal: AbortSignal },
): Promise<void> {
  if (signed === undefined) throw denied('git object is not signed');
  const dir = await mkdtemp(join(runDir, 'signed-'));
  try {
    const file = join(dir, 'object');
    await writeFile(file, signed.data, { mode: 0o600 });
    const { signature } = signed;
    const check = signature.startsWith(sshStart) ? verifySsh : verifyPgp;
    await check(file, { signature, keys, rejectExpired }, { runDir, signal });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * The signature of a tag, which is the end of its message from the last line on that begins a signature, and the signed
 * rest.
 */
export function tagParts(object: Buffer): Signed | undefined {
  const text = object.toString('latin1');
  const at = Math.max(...signatureStarts.map((start) => text.lastIndexOf(`\n${start}`)));
  if (at < 0) return undefined;
  return { data: object.subarray(0, at + 1), signature: text.slice(at + 1) };
}

/** The signature of a commit, which is a header with a space before each line but the first, and the signed rest. */
function commitParts(object: Buffer, isSha256: boolean): Signed | undefined {
  const text = object.toString('latin1');
  const end = text.indexOf('\n\n');
  const head = end < 0 ? text : text.slice(0, end + 1);
  const header = isSha256 ? 'gpgsig-sha256' : 'gpgsig';
  const found: string[] = [];
  const rest = head.replace(/^(gpgsig(?:-sha256)?) (.*\n(?: .*\n)*)/gm, (_, name: string, value: string) => {
    if (name === header) found.push(value.replace(/^ /gm, ''));
    return '';
  });
  // One that is signed twice could be read in two ways.
  const [signature, ...more] = found;
  if (signature === undefined || more.length > 0) return undefined;
  return { data: Buffer.from(rest + text.slice(head.length), 'latin1'), signature };
}

function denied(message: string) {
  return fail('denied', 'git', message, {
    hint: 'The source asks for a signature by a key of its own (git.sig.pubkey).',
  });
}
