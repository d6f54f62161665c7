/**
 * The part of a repository that a git source names: its options, the credentials for it, and the commit that its ref
 * points at.
 */
import { DrydockError, fail, offline, toDrydockError } from '../errors/index.ts';
import type { VertexProgress } from '../progress/index.ts';
import type { Session } from '../session/index.ts';
import { type AttrReader, attrReader } from './attrs.ts';
import type { BlobPlace } from './blob.ts';
import { bundleOf } from './git-bundle.ts';
import { Git, type GitAccess } from './git-run.ts';
import type { GitVerify } from './git-signature.ts';
import { parseGitUrl } from './git-url.ts';

/** A ref of a repository, and the object that it points at. */
export interface GitRef {
  /** The full name, `refs/heads/main`; '' for a commit that is named by its digits. */
  name: string;
  /** The object that it points at: a commit, or an annotated tag. */
  sha: string;
  commit: string;
}

export interface GitContext {
  session: Session;
  signal: AbortSignal;
  progress: Pick<VertexProgress, 'log' | 'report'>;
}

/** The options of a git source. */
export interface GitSpec {
  remote: string;
  ref: string;
  subdir: string;
  checksum?: string;
  keepGitDir: boolean;
  skipSubmodules: boolean;
  commitTimes: boolean;
  tokenSecret?: string;
  headerSecret?: string;
  knownHosts?: string;
  sshId?: string;
  verify?: GitVerify;
  /** A bundle to take the commit from, in the place of the remote. */
  bundle?: BlobPlace;
  /** Makes a bundle of the commit in the place of its files. */
  asBundle: boolean;
}

/** The ref for a commit that is named by all of its digits; undefined for other refs. */
function commitRef(ref: string): GitRef | undefined {
  return isCommit(ref) ? { name: '', sha: ref, commit: ref } : undefined;
}

/** Whether a ref is a commit, named by all of its digits: 40 of SHA-1, or 64 of SHA-256. */
function isCommit(ref: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(ref);
}

type GitWork<T> = (git: Git, access: GitAccess) => Promise<T>;

/**
 * Runs git for a source, with the client's credentials. Its errors are of the hop `git`.
 *
 *     const ref = await withGit(options, runDir, ctx, (git, { remote }) => resolveRef(git, remote, 'main'));
 */
export async function withGit<T>(
  options: GitSpec,
  runDir: string,
  ctx: GitContext,
  work: GitWork<T>,
): Promise<T> {
  const access = await gitAccess(options, ctx.session);
  const onOutput = (text: string) => ctx.progress.log(2, text);
  const git = await Git.open({ ...access, offline: ctx.session.offline }, runDir, ctx.signal, onOutput);
  try {
    return await work(git, access);
  } catch (err) {
    const error = toDrydockError(err, 'git');
    if (ctx.session.offline && /transport '\S+' not allowed/.test(error.message)) {
      throw offline(
        'git',
        `something more of ${access.remote} would have to be fetched (its submodules, a tag)`,
      );
    }
    throw error;
  } finally {
    await git.close();
  }
}

/** Reads the options of a git source. Throws `invalid` and `unsupported` for wrong ones. */
export function gitOptions(identifier: string, attrs: Record<string, string>): GitSpec {
  const read = attrReader(attrs, identifier);
  const named = parseGitUrl(identifier);
  const full = read.text('git.fullurl');
  const remote = full === undefined ? `https://${named.host}${named.path}` : parseGitUrl(full).remote;
  const options: GitSpec = {
    remote,
    ref: named.ref ?? '',
    subdir: named.subdir ?? '',
    checksum: hexOf(read.text('git.checksum')),
    keepGitDir: read.flag('git.keepgitdir'),
    skipSubmodules: read.flag('git.skipsubmodules'),
    commitTimes: mtime(read.text('git.mtime')),
    tokenSecret: read.text('git.authtokensecret'),
    headerSecret: read.text('git.authheadersecret'),
    knownHosts: read.text('git.knownsshhosts'),
    sshId: read.text('git.mountsshsock'),
    verify: verifyOf(read),
    bundle: bundleOf(read),
    asBundle: read.flag('git.checkoutbundle'),
  };
  // How a commit is fetched is our own affair.
  read.skip('git.fetchbycommit');
  read.done();
  checkBundle(options);
  return options;
}

function checkBundle({ bundle, asBundle, ref, checksum, ...options }: GitSpec): void {
  const invalid = (message: string) => fail('invalid', 'llb', message);
  if (asBundle && options.keepGitDir) {
    throw invalid('git.checkoutbundle is incompatible with git.keepgitdir');
  }
  if (asBundle && options.subdir !== '') throw invalid('git.checkoutbundle is incompatible with git.subdir');
  if (bundle === undefined) return;
  if (checksum === undefined) throw invalid('git.bundle requires git.checksum to be set');
  if (ref === '' && !isCommit(checksum)) {
    throw invalid('git.bundle without a ref requires a git.checksum of all the digits of a commit');
  }
}

/** The commit of a source that names it by all of its digits; undefined when the source's ref is to be looked up. */
export function namedCommit({ ref, checksum, bundle }: GitSpec): GitRef | undefined {
  return commitRef(ref === '' && bundle !== undefined ? (checksum ?? '') : ref);
}

function verifyOf(read: AttrReader): GitVerify | undefined {
  const keys = read.text('git.sig.pubkey');
  const verify = {
    rejectExpired: read.flag('git.sig.rejectexpired'),
    requireTag: read.flag('git.sig.requiresignedtag'),
    ignoreTag: read.flag('git.sig.ignoresignedtag'),
  };
  if (keys !== undefined) return { keys, ...verify };
  if (!Object.values(verify).includes(true)) return undefined;
  throw fail('invalid', 'llb', 'verifying a git signature needs git.sig.pubkey');
}

function hexOf(checksum: string | undefined): string | undefined {
  if (checksum === undefined || /^[0-9a-f]+$/i.test(checksum)) return checksum?.toLowerCase();
  throw fail('invalid', 'git', `invalid checksum ${checksum} for Git URL, expected hex commit hash`, {
    hint: 'Give the digits of the commit, or of an annotated tag.',
  });
}

/** Throws `invalid` unless a ref points at the commit or the tag that a checksum names, which may be shortened. */
export function checkCommit(
  { sha, commit }: GitRef,
  options: Pick<GitSpec, 'checksum' | 'remote' | 'ref'>,
): void {
  const { checksum, remote, ref } = options;
  if (checksum === undefined || commit.startsWith(checksum) || sha.startsWith(checksum)) return;
  const found = sha === commit ? commit : `${commit} or ${sha}`;
  const where = `${ref || 'HEAD'} of ${parseGitUrl(remote).host}`;
  throw fail('invalid', 'git', `expected checksum to match ${checksum}, got ${found} for ${where}`);
}

function mtime(text: string | undefined): boolean {
  if (text === undefined || text === 'checkout') return false;
  if (text === 'commit') return true;
  throw fail('invalid', 'llb', `invalid git.mtime ${JSON.stringify(text)}: want checkout or commit`);
}

/** A remote without the credentials in its URL. */
export function withoutUser(remote: string): string {
  return remote.replace(/^(https?:\/\/)[^/]*@/, '$1');
}

/**
 * The owner of files from a remote, where builds are kept apart. Files that were got with credentials are the tenant's
 * own, and a tenant without credentials does not get them from here. Undefined: they are everybody's.
 */
export function ownerOf(
  { authorization, agent }: GitAccess,
  { tenant }: Pick<Session, 'tenant'>,
): string | undefined {
  return authorization === undefined && agent === undefined ? undefined : tenant?.id;
}

/** The remote without the secrets in its URL, and the client's credentials for it. */
export async function gitAccess(options: GitSpec, session: Session): Promise<GitAccess> {
  const { scheme, user, host } = parseGitUrl(options.remote);
  const remote = withoutUser(options.remote);
  const access: GitAccess = { remote, knownHosts: options.knownHosts };
  if (scheme === 'http' || scheme === 'https') {
    const secret = async (id: string | undefined) =>
      id === undefined ? undefined : ((await session.secret(`${id}.${host}`)) ?? (await session.secret(id)));
    const token = (await secret(options.tokenSecret))?.toString().trim();
    const header = (await secret(options.headerSecret))?.toString().trim();
    if (header) access.authorization = header;
    else if (token) access.authorization = basic(`x-access-token:${token}`);
    else if (user !== '') access.authorization = basic(decodeURIComponent(user));
    if (access.authorization !== undefined && /[\r\n\0]/.test(access.authorization)) {
      throw fail('invalid', 'git', 'the git credentials hold a line break');
    }
  }
  if (scheme === 'ssh' && options.sshId !== undefined) access.agent = await agentOf(session, options.sshId);
  return access;
}

/** The client's agent, if it has one. Whether that is enough, the host's keys and the remote's answer will tell. */
async function agentOf(session: Session, id: string): Promise<GitAccess['agent']> {
  try {
    return await session.ssh(id);
  } catch (err) {
    if (err instanceof DrydockError && err.code === 'not-found') return undefined;
    throw err;
  }
}

function basic(pair: string): string {
  return `basic ${Buffer.from(pair).toString('base64')}`;
}

/** The most bytes of a list of refs: a server may have as many as it likes that end like the one that is wanted. */
export const maxRefs = 4 << 20;

/**
 * The object that a ref of the remote points at. A commit that is named by its digits is not looked up. Throws
 * `not-found`.
 */
export async function resolveRef(git: Git, remote: string, ref: string): Promise<GitRef> {
  const named = commitRef(ref);
  if (named !== undefined) return named;
  const wanted = ref === '' ? 'HEAD' : ref;
  const ask = ['ls-remote', '--symref', '--', remote, wanted, `${wanted}^{}`];
  const list = await git.run(ask, { quiet: true, most: maxRefs });
  return refIn(list, wanted, remote);
}

/** The object that a ref points at, in a list as `git ls-remote --symref` prints it. Throws `not-found`. */
export function refIn(text: string, wanted: string, remote: string): GitRef {
  const list = `${text}\n`;
  for (const name of [wanted, `refs/${wanted}`, `refs/tags/${wanted}`, `refs/heads/${wanted}`]) {
    const { sha, leads } = lineOf(list, name);
    const commit = lineOf(list, `${name}^{}`).sha ?? sha;
    if (commit !== undefined && isCommit(commit)) return { name: leads ?? name, sha: sha ?? commit, commit };
  }
  throw fail('not-found', 'git', `repository does not contain ref ${wanted}: ${remote}`, {
    hint: /^[0-9a-f]{4,63}$/.test(wanted)
      ? 'A commit must be named by all of its 40 digits (64 in a SHA-256 repository).'
      : 'List what there is with `git ls-remote`.',
    details: { remote },
  });
}

/** What a list says of a name: the object, and the ref that a symbolic one leads to. */
function lineOf(list: string, name: string): { sha?: string; leads?: string } {
  const found: { sha?: string; leads?: string } = {};
  const end = `\t${name}\n`;
  for (let at = list.indexOf(end); at >= 0; at = list.indexOf(end, at + 1)) {
    const what = list.slice(list.lastIndexOf('\n', at) + 1, at);
    if (what.startsWith('ref: ')) found.leads ??= what.slice('ref: '.length);
    else found.sha ??= what;
  }
  return found;
}
