/** A commit that is brought here from its remote, and the objects that name it. */
import { keptUnder } from '../kept/kept.ts';
import type { Pins } from '../solver/pins.ts';
import type { Store } from '../store/store.ts';
import { GitMirror } from './git-mirror.ts';
import { type GitContext, type GitOptions, type GitRef, ownerOf, pinnedRef, withGit } from './git-ref.ts';

/** Works on a commit in the mirror of a source's remote, where it is fetched to first. `remote` is without credentials. */
export function withCommit<T>(
  options: GitOptions,
  commit: string,
  store: Pick<Store, 'root' | 'runDir'>,
  ctx: GitContext,
  work: (mirror: GitMirror, remote: string) => Promise<T>,
): Promise<T> {
  return withGit(options, store.runDir, ctx, async (git, access) => {
    const at = { remote: access.remote, owner: ownerOf(access, ctx.session) };
    const mirror = await GitMirror.open(keptUnder(store.root).gitMirrors, at, commit, git, ctx.signal);
    try {
      await mirror.fetch(options.ref, commit);
      return await work(mirror, access.remote);
    } finally {
      mirror.close();
    }
  });
}

/** What a ref names, whole: objects as git hashes them, without their header. https://git-scm.com/book/en/v2/Git-Internals-Git-Objects */
export interface GitObjects {
  commit: string;
  commitObject: Buffer;
  /** Of an annotated tag. */
  tagObject?: Buffer;
}

/** What a source's ref is at, once in a build, and what its objects are where they must be signed. Throws `denied`. */
export async function verifiedRef(
  options: GitOptions,
  store: Pick<Store, 'root' | 'runDir'>,
  ctx: GitContext & { pins?: Pick<Pins, 'pin'> },
): Promise<GitRef> {
  const ref = await pinnedRef(options, store.runDir, ctx);
  if (options.verify === undefined) return ref;
  const { verifyGit } = await import('./git-signature.ts');
  const objects = await gitObjects(options, ref, store, ctx);
  await verifyGit(objects, options.verify, { runDir: store.runDir, signal: ctx.signal });
  return ref;
}

/** The commit's object, and the tag's where the ref is at one. */
export function gitObjects(
  options: GitOptions,
  { name, sha, commit: found }: GitRef,
  store: Pick<Store, 'root' | 'runDir'>,
  ctx: GitContext,
): Promise<GitObjects> {
  return withCommit(options, found, store, ctx, async (mirror) => {
    if (sha !== found) await mirror.fetchTag(name, sha);
    // All of its digits may name a tag as well.
    if (!(await mirror.isTag(sha))) return { commit: sha, commitObject: await mirror.object('commit', sha) };
    const commit = await mirror.commitOf(sha);
    return {
      commit,
      commitObject: await mirror.object('commit', commit),
      tagObject: await mirror.object('tag', sha),
    };
  });
}
