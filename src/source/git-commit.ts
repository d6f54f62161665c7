/** Brings a commit here from its remote, with the objects that name it. */
import { offline } from '../errors/index.ts';
import { keptUnder } from '../kept/index.ts';
import type { Pins } from '../solver/index.ts';
import { type BlobPlace, saveBlob } from './blob.ts';
import type { SourceDeps } from './deps.ts';
import { lastRef, rememberRef } from './git-answer.ts';
import { GitMirror } from './git-mirror.ts';
import {
  type GitContext,
  type GitRef,
  type GitSpec,
  namedCommit,
  ownerOf,
  resolveRef,
  withGit,
  withoutUser,
} from './git-ref.ts';

/** The parts of the engine that this needs. */
type GitDeps = Pick<SourceDeps, 'store' | 'registry'>;

/**
 * Calls `work` with a commit in the mirror of a source's remote, or of its bundle. `remote` is without credentials.
 *
 *     const { commit } = await pinnedRef(options, deps, ctx);
 *     await withCommit(options, commit, deps, ctx, (mirror) => mirror.export(dir, commit));
 */
export function withCommit<T>(
  options: GitSpec,
  commit: string,
  deps: GitDeps,
  ctx: GitContext,
  work: (mirror: GitMirror, remote: string) => Promise<T>,
): Promise<T> {
  if (options.bundle !== undefined) {
    return withBundle(options, options.bundle, deps, ctx, async (mirror, remote) => {
      await mirror.need(commit);
      return work(mirror, remote);
    });
  }
  const { store } = deps;
  return withGit(options, store.runDir, ctx, async (git, access) => {
    const at = { remote: access.remote, owner: ownerOf(access, ctx.session) };
    const mirror = await GitMirror.open(keptUnder(store.root).gitMirrors, at, commit, git, ctx.signal);
    try {
      if (!ctx.session.offline) await mirror.fetch(options.ref, commit);
      else if (!(await mirror.has(commit))) {
        throw offline('git', `the commit ${commit} of ${access.remote} is not here`);
      }
      return await work(mirror, access.remote);
    } finally {
      mirror.close();
    }
  });
}

function withBundle<T>(
  options: GitSpec,
  bundle: BlobPlace,
  deps: GitDeps,
  ctx: GitContext,
  work: (mirror: GitMirror, remote: string) => Promise<T>,
): Promise<T> {
  const { store } = deps;
  return withGit(options, store.runDir, ctx, async (git, { remote }) => {
    // Whoever builds has got it with credentials of their own, or offers it themselves.
    const at = { remote, owner: ctx.session.tenant?.id, digest: bundle.digest };
    const save = (file: string) => saveBlob(bundle, file, deps, ctx);
    const mirror = await GitMirror.ofBundle(keptUnder(store.root).gitMirrors, at, save, git, ctx.signal);
    try {
      return await work(mirror, remote);
    } finally {
      mirror.close();
    }
  });
}

/** The object that a source's ref points at, looked up once in a build. */
export function pinnedRef(options: GitSpec, deps: GitDeps, ctx: PinningContext): Promise<GitRef> {
  const { remote, ref, bundle } = options;
  const named = namedCommit(options);
  if (named !== undefined) return Promise.resolve(named);
  const find = () =>
    bundle === undefined
      ? withGit(options, deps.store.runDir, ctx, async (git, access) => {
          const { root } = deps.store;
          const asked = { remote: access.remote, ref, owner: ownerOf(access, ctx.session) };
          if (ctx.session.offline) return lastRef(root, asked);
          const found = await resolveRef(git, access.remote, ref);
          await rememberRef(root, asked, found, ctx.signal);
          return found;
        })
      : withBundle(options, bundle, deps, ctx, (mirror) => mirror.resolve(ref));
  const key = `git ${JSON.stringify([withoutUser(remote), ref, ...(bundle ? [bundle.digest] : [])])}`;
  return ctx.pins === undefined ? find() : ctx.pins.pin(key, find);
}

type PinningContext = GitContext & { pins?: Pick<Pins, 'pin'> };

/**
 * The whole objects that a ref names, as git hashes them, without their header.
 * https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
 */
export interface GitObjects {
  commit: string;
  commitObject: Buffer;
  /** The object of an annotated tag. */
  tagObject?: Buffer;
}

/**
 * The object that a source's ref points at, looked up once in a build; its signature is checked when one is required.
 * Throws `denied`.
 */
export async function verifiedRef(options: GitSpec, deps: GitDeps, ctx: PinningContext): Promise<GitRef> {
  const ref = await pinnedRef(options, deps, ctx);
  if (options.verify === undefined) return ref;
  const { verifyGit } = await import('./git-signature.ts');
  const objects = await gitObjects(options, ref, deps, ctx);
  await verifyGit(objects, options.verify, { runDir: deps.store.runDir, signal: ctx.signal });
  return ref;
}

/** The commit's object, and the tag's when the ref points at a tag. */
export function gitObjects(
  options: GitSpec,
  { name, sha, commit: found }: GitRef,
  deps: GitDeps,
  ctx: GitContext,
): Promise<GitObjects> {
  return withCommit(options, found, deps, ctx, async (mirror) => {
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
