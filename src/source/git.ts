/** `git://HOST/PATH#REF:SUBDIR`: a repository's files at a commit. The commit names them. */
import { randomUUID } from 'node:crypto';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { copyAll, writeSnapshot } from '../apply/snapshot.ts';
import { DrydockError, fail, toDrydockError } from '../errors/error.ts';
import { specOfMounts } from '../fs/view.ts';
import { keptUnder } from '../kept/kept.ts';
import { digestOf } from '../oci/digest.ts';
import type { OpMaker } from '../ops/deps.ts';
import type { Session } from '../session/types.ts';
import { refContext } from '../solver/ref-context.ts';
import type { OpContext } from '../solver/types.ts';
import { attrReader, sourceOf } from './attrs.ts';
import { GitMirror } from './git-mirror.ts';
import { Git, type GitAccess } from './git-run.ts';
import { parseGitUrl } from './git-url.ts';

interface GitOptions {
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
}

const commitHash = /^([0-9a-f]{40}|[0-9a-f]{64})$/;

export const gitSource: OpMaker = (vertex, deps) => {
  const { identifier, attrs } = sourceOf(vertex);
  const options = gitOptions(identifier, attrs);
  let commit: string | undefined;

  const withGit = async <T>(
    ctx: OpContext,
    work: (git: Git, access: GitAccess) => Promise<T>,
  ): Promise<T> => {
    const access = await gitAccess(options, ctx.session);
    const git = await Git.open(access, deps.store.runDir, ctx.signal, (text) => ctx.progress.log(2, text));
    try {
      return await work(git, access);
    } catch (err) {
      throw toDrydockError(err, 'git');
    } finally {
      await git.close();
    }
  };

  return {
    async cacheMap(ctx) {
      commit = commitHash.test(options.ref)
        ? options.ref
        : await withGit(ctx, (git, access) => resolveRef(git, access.remote, options.ref));
      const { checksum } = options;
      if (checksum !== undefined && !commit.startsWith(checksum)) {
        throw fail(
          'invalid',
          'git',
          `expected checksum to match ${checksum}, got ${commit} for ${options.ref || 'HEAD'} of ${parseGitUrl(options.remote).host}`,
        );
      }
      const { subdir, keepGitDir, skipSubmodules, commitTimes } = options;
      const kept = keepGitDir ? [withoutUser(options.remote), options.ref] : [];
      const key = [commit, subdir, keepGitDir, skipSubmodules, commitTimes, kept];
      return { digest: digestOf(`git ${JSON.stringify(key)}`), deps: [] };
    },

    async exec(_, ctx) {
      const sha = commit;
      if (sha === undefined) throw fail('internal', 'git', 'the commit was not resolved before');
      const key = await withGit(ctx, async (git, access) => {
        const mirror = await GitMirror.open(
          keptUnder(deps.store.root).gitMirrors,
          access.remote,
          git,
          ctx.signal,
        );
        try {
          await mirror.fetch(options.ref, sha);
          return await checkout(mirror, access.remote, sha, ctx);
        } finally {
          mirror.close();
        }
      });
      return [deps.refs.snapshot(key)];
    },
  };

  /** Checks out into a new snapshot, in place; a subdir is then copied out of it. */
  async function checkout(mirror: GitMirror, remote: string, sha: string, ctx: OpContext): Promise<string> {
    const { snapshots } = deps.store;
    const id = randomUUID();
    const active = `git-active-${id}`;
    const { lease } = ctx;
    const target = specOfMounts(await snapshots.prepare(active, undefined, { lease }));
    const name = `git-${id}`;
    try {
      const dir = target.kind === 'layers' ? target.dirs[0] : undefined;
      if (dir === undefined) throw fail('internal', 'store', `snapshot ${active} has no folder to write to`);
      const modules = !options.skipSubmodules && (await mirror.hasFile(sha, '.gitmodules'));
      if (options.keepGitDir || modules) {
        await mirror.clone(dir, remote, sha, options.ref, modules);
        if (!options.keepGitDir) await removeGitDirs(dir);
      } else await mirror.export(dir, sha);
      if (options.subdir === '' && !options.commitTimes) {
        await snapshots.commit(name, active, { lease });
        return name;
      }
      await checkSubdir(dir, options.subdir);
      const part = join(dir, options.subdir);
      const source = { kind: 'folder', dir: part, rootOwned: true, state: 'given' } as const;
      const timestampNs = options.commitTimes ? await mirror.commitTimeNs(sha) : undefined;
      const actions = [{ ...copyAll(source), timestampNs, link: true }];
      await writeSnapshot(
        deps.store,
        { name, key: `git-part-${id}`, parent: undefined, actions },
        refContext(ctx),
      );
      await snapshots.remove(active);
      return name;
    } catch (err) {
      await snapshots.remove(active).catch(() => {});
      throw err;
    }
  }
};

function gitOptions(identifier: string, attrs: Record<string, string>): GitOptions {
  const read = attrReader(attrs, identifier);
  const named = parseGitUrl(identifier);
  const full = read.text('git.fullurl');
  const remote = full === undefined ? `https://${named.host}${named.path}` : parseGitUrl(full).remote;
  const options: GitOptions = {
    remote,
    ref: named.ref ?? '',
    subdir: named.subdir ?? '',
    checksum: read.text('git.checksum'),
    keepGitDir: read.flag('git.keepgitdir'),
    skipSubmodules: read.flag('git.skipsubmodules'),
    commitTimes: mtime(read.text('git.mtime')),
    tokenSecret: read.text('git.authtokensecret'),
    headerSecret: read.text('git.authheadersecret'),
    knownHosts: read.text('git.knownsshhosts'),
    sshId: read.text('git.mountsshsock'),
  };
  // How a commit is fetched is our own affair.
  read.skip('git.fetchbycommit');
  read.done();
  return options;
}

function mtime(text: string | undefined): boolean {
  if (text === undefined || text === 'checkout') return false;
  if (text === 'commit') return true;
  throw fail('invalid', 'llb', `invalid git.mtime ${JSON.stringify(text)}: want checkout or commit`);
}

function withoutUser(remote: string): string {
  return remote.replace(/^(https?:\/\/)[^/]*@/, '$1');
}

/** The remote with what is secret taken out of its URL, and the client's credentials for it. */
async function gitAccess(options: GitOptions, session: Session): Promise<GitAccess> {
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

/** The client's agent if it has one; the host's keys and the remote's answer say the rest. */
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

/** The commit a ref of the remote is at, annotated tags followed. Throws `not-found`. */
async function resolveRef(git: Git, remote: string, ref: string): Promise<string> {
  const wanted = ref === '' ? 'HEAD' : ref;
  const list = await git.run(['ls-remote', '--', remote, wanted, `${wanted}^{}`], { quiet: true });
  const found = new Map<string, string>();
  for (const line of list.split('\n')) {
    const [sha, name] = line.split('\t');
    if (sha !== undefined && name !== undefined) found.set(name, sha);
  }
  for (const name of [wanted, `refs/${wanted}`, `refs/tags/${wanted}`, `refs/heads/${wanted}`]) {
    const sha = found.get(`${name}^{}`) ?? found.get(name);
    if (sha !== undefined && commitHash.test(sha)) return sha;
  }
  throw fail('not-found', 'git', `${remote} has no branch or tag ${JSON.stringify(wanted)}`, {
    hint: /^[0-9a-f]{4,39}$/.test(wanted)
      ? 'A commit must be named by all of its 40 digits.'
      : 'List what there is with `git ls-remote`.',
    details: { remote },
  });
}

/** The subdir must be a real folder of the repository, reached through no symlink. */
async function checkSubdir(root: string, subdir: string): Promise<void> {
  let at = root;
  for (const part of subdir.split('/').filter((name) => name !== '')) {
    at = join(at, part);
    const stat = await lstat(at).catch(() => undefined);
    if (!stat?.isDirectory()) {
      throw fail('not-found', 'git', `the repository has no folder ${JSON.stringify(subdir)}`, {
        hint: 'Check the folder after the colon of #REF:FOLDER; it must not be reached through a symlink.',
      });
    }
  }
}

/** Removes `.git` here and in submodules. */
async function removeGitDirs(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.name === '.git') await rm(path, { recursive: true, force: true });
    else if (entry.isDirectory()) await removeGitDirs(path);
  }
}
