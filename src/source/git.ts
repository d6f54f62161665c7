/** `git://HOST/PATH#REF:SUBDIR`: a repository's files at a commit. The commit names them. */
import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../errors/error.ts';
import { lstatHost } from '../fs/stat.ts';
import { specOfMounts } from '../fs/view.ts';
import { nameOf, rawName } from '../linux/names.ts';
import { digestOf } from '../oci/digest.ts';
import { copyAll, writeSnapshot } from '../refs/snapshot.ts';
import { refContext } from '../solver/ref-context.ts';
import type { OpContext } from '../solver/types.ts';
import { sourceOf } from './attrs.ts';
import type { SourceMaker } from './deps.ts';
import { verifiedRef, withCommit } from './git-commit.ts';
import type { GitMirror } from './git-mirror.ts';
import { checkCommit, commitRef, gitAccess, gitOptions, ownerOf, withoutUser } from './git-ref.ts';

export const gitSource: SourceMaker = (vertex, deps) => {
  const { identifier, attrs } = sourceOf(vertex);
  const options = gitOptions(identifier, attrs);
  let commit: string | undefined;

  return {
    async cacheMap(ctx) {
      // A commit is taken for what it says before anybody is asked.
      const named = options.verify === undefined ? commitRef(options.ref) : undefined;
      const found = named ?? (await verifiedRef(options, deps.store, ctx));
      checkCommit(found, options);
      commit = found.commit;
      const { subdir, keepGitDir, skipSubmodules, commitTimes } = options;
      const kept = keepGitDir ? [withoutUser(options.remote), options.ref] : [];
      const { session } = ctx;
      const owner = session.tenant && ownerOf(await gitAccess(options, session), session);
      const own = owner === undefined ? [] : [owner];
      const key = [commit, subdir, keepGitDir, skipSubmodules, commitTimes, kept, ...own];
      return { digest: digestOf(`git ${JSON.stringify(key)}`), deps: [] };
    },

    async exec(_, ctx) {
      const sha = commit;
      if (sha === undefined) throw fail('internal', 'git', 'the commit was not resolved before');
      const key = await withCommit(options, sha, deps.store, ctx, (mirror, remote) =>
        checkout(mirror, remote, sha, ctx),
      );
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
      checkSubdir(dir, options.subdir);
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

/** The subdir must be a real folder of the repository, reached through no symlink. */
function checkSubdir(root: string, subdir: string): void {
  let at = root;
  for (const part of subdir.split('/').filter((name) => name !== '')) {
    at = join(at, part);
    if (!lstatHost(at)?.isDirectory()) {
      throw fail('not-found', 'git', `the repository has no folder ${JSON.stringify(subdir)}`, {
        hint: 'Check the folder after the colon of #REF:FOLDER; it must not be reached through a symlink.',
      });
    }
  }
}

/** Removes `.git` here and in submodules. */
async function removeGitDirs(dir: string): Promise<void> {
  for (const entry of await readdir(rawName(dir), { withFileTypes: true, encoding: 'buffer' })) {
    const name = nameOf(entry.name);
    const path = join(dir, name);
    if (name === '.git') await rm(rawName(path), { recursive: true, force: true });
    else if (entry.isDirectory()) await removeGitDirs(path);
  }
}
