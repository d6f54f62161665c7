/**
 * Verifies detached signatures with keys that come with them: OpenPGP's by gpg, in a home of its own with no other key
 * in it, and SSH's by ssh-keygen. https://datatracker.ietf.org/doc/html/rfc9580
 * https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig
 */
import { spawn } from 'node:child_process';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canceled, errnoCode, fail } from '../errors/index.ts';

export interface Signature {
  /** The armored signature. */
  signature: string;
  /** Armored OpenPGP public keys, one after the other; or one SSH public key, as in authorized_keys. */
  keys: string;
  /** Refuses a key or a signature that has expired by now. */
  rejectExpired?: boolean;
}

interface SignatureContext {
  runDir: string;
  signal: AbortSignal;
}

const pgpStart = '-----BEGIN PGP SIGNATURE-----';
export const sshStart = '-----BEGIN SSH SIGNATURE-----';
/** The lines with which an object's signature begins. */
export const signatureStarts = [pgpStart, sshStart];

/** OpenPGP's numbers of SHA-256, SHA-384 and SHA-512, and of RSA, ECDSA and EdDSA. */
const hashes = ['8', '9', '10'];
const algorithms = ['1', '3', '19', '22', '27'];
/** The fewest bits of an RSA key. */
const shortestRsa = 2048;

/** Throws `denied` unless one of the keys has made the OpenPGP signature of a file; `unsupported` without gpg. */
export async function verifyPgp(file: string, signed: Signature, ctx: SignatureContext): Promise<void> {
  const blocks = blocksOf(signed.keys);
  if (blocks.length === 0) throw refused('failed to read armored public key: no armored data found');
  if (!signed.signature.trimStart().startsWith(pgpStart)) throw refused('failed to decode armored signature');
  await inHome(ctx, async (home, run) => {
    const gpg = (...args: string[]) =>
      run('gpg', ['--homedir', home, '--no-options', '--batch', '--no-tty', '--no-autostart', ...args]);
    const always = ['--trust-model', 'always', '--no-auto-key-locate', '--status-fd', '1'];
    for (const [i, block] of blocks.entries()) {
      const path = join(home, `key${i}.asc`);
      await writeFile(path, `${block}\n`, { mode: 0o600 });
      const { out, said } = await gpg(...always, '--import', path);
      if (!/^\[GNUPG:\] IMPORT_OK /m.test(out)) throw refused('failed to read armored public key', said);
    }
    const path = join(home, 'signature.asc');
    await writeFile(path, signed.signature, { mode: 0o600 });
    const { out, said } = await gpg(...always, '--verify', '--', path, file);
    const listed = await gpg('--with-colons', '--list-keys');
    const signatures = out.split(/^\[GNUPG:\] NEWSIG.*$/m);
    const reasons = signatures.map((status) => flawOf(status, listed.out, signed.rejectExpired === true));
    if (reasons.includes(undefined)) return;
    throw refused(`failed to verify pgp signature: ${reasons.at(-1)}`, said);
  });
}

/** The armored keys of a text, found in time linear in it. */
function blocksOf(text: string): string[] {
  const [begin, end] = ['BEGIN', 'END'].map((word) => `-----${word} PGP PUBLIC KEY BLOCK-----`) as [
    string,
    string,
  ];
  const blocks: string[] = [];
  for (let at = text.indexOf(begin); at >= 0; at = text.indexOf(begin, at)) {
    const last = text.indexOf(end, at);
    if (last < 0) break;
    blocks.push(text.slice(at, last + end.length));
    at = last + end.length;
  }
  return blocks;
}

/**
 * The fault in gpg's status lines of one signature; undefined when there is none.
 * https://github.com/gpg/gnupg/blob/master/doc/DETAILS
 */
function flawOf(status: string, keys: string, rejectExpired: boolean): string | undefined {
  const lines = status
    .split('\n')
    .flatMap((line) => (line.startsWith('[GNUPG:] ') ? [line.slice(9).split(' ')] : []));
  const has = (word: string) => lines.some(([first]) => first === word);
  if (has('NO_PUBKEY')) return 'it is by none of the keys';
  if (has('BADSIG')) return 'it is not of this';
  if (has('REVKEYSIG')) return 'the key was revoked';
  if (rejectExpired && (has('EXPKEYSIG') || has('EXPSIG'))) return 'the key has expired';
  const valid = lines.find(([word]) => word === 'VALIDSIG');
  if (valid === undefined || !(has('GOODSIG') || has('EXPKEYSIG') || has('EXPSIG')))
    return 'there is no valid one';
  const [, fingerprint, , , , , , algorithm = '', hash = '', , primary = fingerprint] = valid;
  if (!hashes.includes(hash)) return 'its hash is weak';
  if (!algorithms.includes(algorithm)) return 'its kind of key is none of RSA, ECDSA and EdDSA';
  return isShort(keys, primary ?? '') ? `an RSA key must have ${shortestRsa} bits` : undefined;
}

/** Whether the primary key of a fingerprint, in gpg's list with colons, is an RSA key with too few bits. */
function isShort(keys: string, fingerprint: string): boolean {
  let pub: string[] = [];
  for (const fields of keys.split('\n').map((line) => line.split(':'))) {
    if (fields[0] === 'pub') pub = fields;
    if (fields[0] === 'fpr' && fields[9] === fingerprint) {
      return ['1', '2', '3'].includes(pub[3] ?? '') && Number(pub[2]) < shortestRsa;
    }
  }
  return true;
}

/** Throws `denied` unless the key has made the SSH signature of a file for git; `unsupported` without ssh-keygen. */
export async function verifySsh(file: string, signed: Signature, ctx: SignatureContext): Promise<void> {
  let key: string | undefined;
  for (const line of signed.keys.split(/[\r\n]/))
    key ??= /^(?:[^#]*\s)?((?:ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/]+={0,2})(?:\s|$)/.exec(line)?.[1];
  if (key === undefined) throw refused('failed to parse ssh public key');
  await inHome(ctx, async (home, run) => {
    const [signers, signature] = [join(home, 'signers'), join(home, 'signature')];
    await writeFile(signers, `signer namespaces="git" ${key}\n`, { mode: 0o600 });
    await writeFile(signature, signed.signature, { mode: 0o600 });
    const args = ['-Y', 'verify', '-f', signers, '-I', 'signer', '-n', 'git', '-s', signature];
    const { status, said } = await run('ssh-keygen', args, file);
    if (status !== 0) throw refused('failed to verify ssh signature', said);
  });
}

type RunTool = (
  command: string,
  args: readonly string[],
  input?: string,
) => Promise<{ status: number | null; out: string; said: string }>;

async function inHome(
  ctx: SignatureContext,
  work: (home: string, run: RunTool) => Promise<void>,
): Promise<void> {
  const home = await mkdtemp(join(ctx.runDir, 'signature-'));
  try {
    await work(home, (command, args, input) => runIn(home, ctx.signal, command, args, input));
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function runIn(
  home: string,
  signal: AbortSignal,
  command: string,
  args: readonly string[],
  input: string | undefined,
): ReturnType<RunTool> {
  if (signal.aborted) throw canceled(signal.reason);
  const file = input === undefined ? undefined : await open(input);
  try {
    const child = spawn(command, args, {
      cwd: home,
      env: { PATH: process.env.PATH, HOME: home, LC_ALL: 'C' },
      stdio: [file?.fd ?? 'ignore', 'pipe', 'pipe'],
      signal,
      killSignal: 'SIGKILL',
    });
    let [out, said] = ['', ''];
    child.stdout!.on('data', (chunk: Buffer) => {
      out = (out + chunk.toString()).slice(0, 1 << 20);
    });
    child.stderr!.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2000);
    });
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    return { status, out, said };
  } catch (err) {
    if (signal.aborted) throw canceled(signal.reason);
    if (errnoCode(err) !== 'ENOENT') throw err;
    throw fail('unsupported', 'host', `${command} is not installed on the machine that builds`, {
      hint: 'A signature is to be verified by it: apt-get install gpg openssh-client',
      cause: err,
    });
  } finally {
    await file?.close();
  }
}

function refused(message: string, said = '') {
  const details = said.trim() === '' ? undefined : { said: said.trim() };
  return fail('denied', 'solver', message, {
    hint: 'Check the signature and the public keys of the source.',
    details,
  });
}
