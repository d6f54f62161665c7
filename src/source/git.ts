/** `git://HOST/PATH#REF:SUBDIR`: the files of a repository at a commit. The commit names them. */
import { randomUUID } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../errors/index.ts';
import { lstatHost, specOfMounts } from '../fs/index.ts';
import { nameOf, rawName } from '../linux/index.ts';
import { digestOf } from '../oci/index.ts';
import { copyAll, writeSnapshot } from '../refs/index.ts';
import type { Session } from '../session/index.ts';
import { type OpContext, refContext } from '../solver/index.ts';
import { sourceOf } from './attrs.ts';
import type { SourceMaker } from './deps.ts';
import { verifiedRef, withCommit } from './git-commit.ts';
import type { GitMirror } from './git-mirror.ts';
import {
  checkCommit,
  type GitRef,
  gitAccess,
  gitOptions,
  namedCommit,
  ownerOf,
  withoutUser,
} from './git-ref.ts';

export const gitSource: SourceMaker = (vertex, deps) => {
  const { identifier, attrs } = sourceOf(vertex);
  const options = gitOptions(identifier, attrs);
  let at: GitRef | undefined;

  return {
    async cacheMap(ctx) {
      // A commit is taken for what it says before anybody is asked.
      const named = options.verify === undefined ? namedCommit(options) : undefined;
      const found = named ?? (await verifiedRef(options, deps, ctx));
      checkCommit(found, options);
      at = found;
      const { commit, name, sha } = found;
      const { subdir, keepGitDir, skipSubmodules, commitTimes } = options;
      const refs = keepGitDir || options.asBundle ? [name, sha] : [];
      const kept = keepGitDir ? [withoutUser(options.remote)] : [];
      const asBundle = options.asBundle ? ['bundle'] : [];
      const own = await ownersOf(ctx.session);
      const key = [
        commit,
        subdir,
        keepGitDir,
        skipSubmodules,
        commitTimes,
        kept,
        ...refs,
        ...asBundle,
        ...own,
      ];
      const url = `${options.remote}${options.ref === '' ? '' : `#${options.ref}`}`;
      return {
        digest: digestOf(`git ${JSON.stringify(key)}`),
        deps: [],
        used: { kind: 'git', url, commit },
      };
    },

    async exec(_, ctx) {
      const found = at;
      if (found === undefined) throw fail('internal', 'git', 'the commit was not resolved before');
      const key = await withCommit(options, found.commit, deps, ctx, (mirror, remote) =>
        checkout(mirror, { found, remote }, ctx),
      );
      return [deps.refs.snapshot(key)];
    },
  };

  /** The owners of the result, where builds are kept apart; empty when it is everybody's. */
  async function ownersOf(session: Session): Promise<string[]> {
    if (session.tenant === undefined) return [];
    if (options.bundle !== undefined) return [session.tenant.id];
    return [ownerOf(await gitAccess(options, session), session) ?? []].flat();
  }

  /** Writes a bundle of the object that the ref points at, with its whole history, as the one file of the folder. */
  async function putBundle(mirror: GitMirror, dir: string, { name, sha, commit }: GitRef): Promise<void> {
    if (options.bundle === undefined) await mirror.complete(commit, options.ref);
    const isNamed = name.startsWith('refs/');
    if (isNamed && sha !== commit) await mirror.fetchTag(name, sha);
    const tip = isNamed ? sha : await mirror.commitOf(commit);
    await mirror.bundle(join(dir, 'bundle'), tip, isNamed ? name : 'refs/heads/main');
  }

  /** Checks out into a new snapshot, in place. A subdir is copied out of it afterwards. */
  async function checkout(
    mirror: GitMirror,
    { found, remote }: { found: GitRef; remote: string },
    ctx: OpContext,
  ): Promise<string> {
    const { commit, sha } = found;
    const { snapshots } = deps.store;
    const id = randomUUID();
    const active = `git-active-${id}`;
    const { lease } = ctx;
    const target = specOfMounts(await snapshots.prepare(active, undefined, { lease }));
    const name = `git-${id}`;
    try {
      const dir = target.kind === 'layers' ? target.dirs[0] : undefined;
      if (dir === undefined) throw fail('internal', 'store', `snapshot ${active} has no folder to write to`);
      if (options.asBundle) await putBundle(mirror, dir, found);
      else {
        const submodules = !options.skipSubmodules && (await mirror.hasFile(commit, '.gitmodules'));
        if (options.keepGitDir || submodules) {
          if (sha !== commit) await mirror.fetchTag(found.name, sha);
          await mirror.clone(dir, { remote, found, submodules });
          if (!options.keepGitDir) await removeGitDirs(dir);
        } else await mirror.export(dir, commit);
      }
      if (options.subdir === '' && !options.commitTimes) {
        await snapshots.commit(name, active, { lease });
        return name;
      }
      checkSubdir(dir, options.subdir);
      const part = join(dir, options.subdir);
      const source = { kind: 'folder', dir: part, rootOwned: true, state: 'given' } as const;
      const timestampNs = options.commitTimes ? await mirror.commitTimeNs(commit) : undefined;
      const actions = [{ ...copyAll(source), timestampNs, link: !deps.store.shared }];
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

/** Throws unless the subdir is a real folder of the repository that is reached through no symlink. */
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

/** Removes `.git` in the folder and in submodules. */
async function removeGitDirs(dir: string): Promise<void> {
  for (const entry of await readdir(rawName(dir), { withFileTypes: true, encoding: 'buffer' })) {
    const name = nameOf(entry.name);
    const path = join(dir, name);
    if (name === '.git') await rm(rawName(path), { recursive: true, force: true });
    else if (entry.isDirectory()) await removeGitDirs(path);
  }
}
