/** A bare repository for each remote, under the store's root, so that a commit is fetched once, and shallowly. */
import { join } from 'node:path';
import { DrydockError, fail } from '../errors/index.ts';
import type { HeldFolder, KeptFolders } from '../kept/index.ts';
import type { Digest } from '../oci/index.ts';
import { type GitRef, maxRefs, refIn } from './git-ref.ts';
import type { Git } from './git-run.ts';

/** Lets git read a repository or a bundle on this host that Drydock itself has put there. */
const local = { args: ['-c', 'protocol.file.allow=always'], env: { GIT_ALLOW_PROTOCOL: 'file' } };

/**
 * A mirror of one remote that this process has to itself. `open` locks it, `fetch` brings commits, `export` and `clone`
 * write their files, and `close` lets go of it.
 */
export class GitMirror {
  readonly #dir: string;
  readonly #remote: string;
  readonly #git: Git;
  readonly #held: HeldFolder;

  private constructor(dir: string, remote: string, git: Git, held: HeldFolder) {
    this.#dir = dir;
    this.#remote = remote;
    this.#git = git;
    this.#held = held;
  }

  /**
   * Opens or makes an owner's mirror of a remote, and keeps other processes and builds out of it until `close`. A
   * repository has one kind of object names, SHA-1's or SHA-256's; `sha` is a commit of it and tells which.
   */
  static async open(
    mirrors: KeptFolders,
    { remote, owner }: { remote: string; owner: string | undefined },
    sha: string,
    git: Git,
    signal: AbortSignal,
  ): Promise<GitMirror> {
    const format = objectFormat(sha);
    const key = format === 'sha1' ? remote : `${remote} ${format}`;
    const held = await mirrors.take({ key, owner, name: remote }, { signal });
    return GitMirror.#in(held, remote, git, (empty) => init(git, empty, format));
  }

  /**
   * The same for a bundle, which `save` puts into a file: the mirror has everything in the bundle, and nothing else.
   */
  static async ofBundle(
    mirrors: KeptFolders,
    { remote, owner, digest }: { remote: string; owner: string | undefined; digest: Digest },
    save: (file: string) => Promise<void>,
    git: Git,
    signal: AbortSignal,
  ): Promise<GitMirror> {
    const key = `${remote} bundle ${digest}`;
    const held = await mirrors.take({ key, owner, name: remote }, { signal });
    return GitMirror.#in(held, remote, git, async (empty) => {
      const file = git.temp('bundle');
      await save(file);
      // Its head says what its objects are named by.
      const list = await git.run([...local.args, 'ls-remote', '--', file], { env: local.env, quiet: true });
      const sha = /^[0-9a-f]+/.exec(list)?.[0] ?? '';
      await init(git, empty, objectFormat(sha));
      const fetch = ['fetch', '--quiet', '--no-write-fetch-head', '--', file, '+refs/*:refs/*'];
      await git.run(['--git-dir', empty, ...local.args, ...fetch], { env: local.env });
    });
  }

  static async #in(
    held: HeldFolder,
    remote: string,
    git: Git,
    fill: (empty: string) => Promise<void>,
  ): Promise<GitMirror> {
    try {
      return new GitMirror(await held.data({ fill }), remote, git, held);
    } catch (err) {
      held.release();
      throw err;
    }
  }

  close(): void {
    this.#held.release();
  }

  #run(args: readonly string[], options?: Parameters<Git['run']>[1]): Promise<string> {
    return this.#git.run(['--git-dir', this.#dir, ...args], options);
  }

  /** Whether a commit is here with its files. */
  async has(sha: string): Promise<boolean> {
    try {
      await this.#run(['rev-parse', '--quiet', '--verify', `${sha}^{commit}`], { quiet: true });
      // The commit alone may be left of a fetch that was killed.
      return (await this.#run(['for-each-ref', '--format=%(objectname)', kept(sha)])).trim() !== '';
    } catch (err) {
      if (err instanceof DrydockError && err.code === 'canceled') throw err;
      return false;
    }
  }

  /**
   * Brings a commit here: first shallowly by its ref; then by itself, for the ref may have moved; then, where the
   * server gives out no single commits, with all branches and tags.
   */
  async fetch(ref: string, sha: string): Promise<void> {
    if (await this.has(sha)) return;
    const wanted = ref === '' ? 'HEAD' : ref;
    const tries = [
      ['--depth=1', '--no-tags', '--', this.#remote, wanted],
      ...(wanted === sha ? [] : [['--depth=1', '--no-tags', '--', this.#remote, sha]]),
      ['--tags', '--force', '--', this.#remote, '+refs/heads/*:refs/remotes/origin/*'],
    ];
    let told: unknown;
    for (const args of tries) {
      try {
        const full = args.includes('--tags') && (await this.#isShallow()) ? ['--unshallow'] : [];
        await this.#run(['fetch', '--progress', '--no-write-fetch-head', ...full, ...args]);
      } catch (err) {
        if (err instanceof DrydockError && !['failed', 'not-found'].includes(err.code)) throw err;
        // A server of plain files knows no shallow fetch; the reason is what it says to the next try.
        if (!isShallowRefusal(err)) told ??= err;
      }
      const found = await this.#run(['rev-parse', '--quiet', '--verify', `${sha}^{commit}`], {
        quiet: true,
      }).then(
        () => true,
        () => false,
      );
      if (!found) continue;
      await this.#run(['update-ref', kept(sha), sha]);
      return;
    }
    throw (
      told ??
      fail('not-found', 'git', `${this.#remote} has no commit ${sha}`, { details: { remote: this.#remote } })
    );
  }

  /** The object that one of a bundle's refs points at. Throws `not-found`. */
  async resolve(ref: string): Promise<GitRef> {
    const ask = ['ls-remote', '--symref', '--', `file://${this.#dir}`, ref, `${ref}^{}`];
    const list = await this.#git.run([...local.args, ...ask], { env: local.env, quiet: true, most: maxRefs });
    return refIn(list, ref, `the bundle of ${this.#remote}`);
  }

  /** Throws `not-found` when a bundle does not have a commit. */
  async need(sha: string): Promise<void> {
    if (await this.#isHere(`${sha}^{commit}`)) return;
    throw fail('not-found', 'git', `commit ${sha} not found in the bundle of ${this.#remote}`, {
      details: { remote: this.#remote },
    });
  }

  /**
   * Writes a bundle of an object that is here (a commit, an annotated tag) with all of its history, under a ref's full
   * name.
   */
  async bundle(file: string, sha: string, name: string): Promise<void> {
    const dir = this.#git.temp('bundling');
    await init(this.#git, dir, objectFormat(sha));
    const env = { GIT_ALTERNATE_OBJECT_DIRECTORIES: join(this.#dir, 'objects') };
    const run = (...args: string[]) => this.#git.run(['--git-dir', dir, ...args], { env });
    await run('update-ref', name, sha);
    await run('bundle', 'create', '--quiet', file, name);
  }

  /** Brings the history of a commit here, when only the commit is here. */
  async complete(sha: string, ref: string): Promise<void> {
    if (!(await this.#isShallow())) return;
    const wanted = ref === '' ? 'HEAD' : ref;
    const args = [
      'fetch',
      '--progress',
      '--no-write-fetch-head',
      '--no-tags',
      '--unshallow',
      '--',
      this.#remote,
    ];
    try {
      await this.#run([...args, sha]);
    } catch (err) {
      if (!(err instanceof DrydockError) || !['failed', 'not-found'].includes(err.code)) throw err;
      await this.#run([...args, wanted]);
    }
  }

  /**
   * Brings the object of an annotated tag here; the tag's commit is here already. Throws `not-found` when the tag has
   * moved.
   */
  async fetchTag(name: string, sha: string): Promise<void> {
    for (const depth of [['--depth=1'], []]) {
      if (await this.#isHere(sha)) return;
      try {
        await this.#run([
          'fetch',
          '--quiet',
          '--no-write-fetch-head',
          ...depth,
          '--no-tags',
          '--',
          this.#remote,
          name,
        ]);
      } catch (err) {
        if (depth.length === 0 || !isShallowRefusal(err)) throw err;
      }
    }
    if (await this.#isHere(sha)) return;
    throw fail('not-found', 'git', `${name} of ${this.#remote} is not at ${sha} any more`, {
      hint: 'Build again.',
      details: { remote: this.#remote },
    });
  }

  #isHere(sha: string): Promise<boolean> {
    return this.#run(['cat-file', '-e', sha], { quiet: true }).then(
      () => true,
      () => false,
    );
  }

  /** Whether an object that is here is an annotated tag. */
  async isTag(sha: string): Promise<boolean> {
    return (await this.#run(['cat-file', '-t', sha])).trim() === 'tag';
  }

  /** The commit that a tag names, directly or by way of other tags. */
  async commitOf(tag: string): Promise<string> {
    return (await this.#run(['rev-parse', '--verify', `${tag}^{commit}`])).trim();
  }

  /** The content of an object that is here, byte for byte. */
  object(kind: 'commit' | 'tag', sha: string): Promise<Buffer> {
    return this.#git.bytes(['--git-dir', this.#dir, 'cat-file', kind, sha]);
  }

  async #isShallow(): Promise<boolean> {
    return (await this.#run(['rev-parse', '--is-shallow-repository'])).trim() === 'true';
  }

  /** Whether a commit's root folder holds a file. */
  async hasFile(sha: string, name: string): Promise<boolean> {
    return (await this.#run(['ls-tree', '--name-only', sha, '--', name])).trim() !== '';
  }

  /** The committer's time, ns since the epoch. */
  async commitTimeNs(sha: string): Promise<bigint> {
    return BigInt((await this.#run(['show', '-s', '--format=%ct', sha])).trim()) * 1_000_000_000n;
  }

  /** Writes the files of a commit, and none of git's own, into an empty folder. */
  async export(dir: string, sha: string): Promise<void> {
    const env = { GIT_INDEX_FILE: this.#git.temp('index') };
    const tree = ['-c', 'core.bare=false', '--work-tree', dir];
    await this.#run([...tree, 'read-tree', sha], { env });
    await this.#run([...tree, 'checkout-index', '--all', '--force', `--prefix=${dir}/`], { env });
  }

  /** Makes a repository of its own in an empty folder, checked out at a commit, with submodules if they are wanted. */
  async clone(
    dir: string,
    { remote, found, submodules }: { remote: string; found: GitRef; submodules: boolean },
  ): Promise<void> {
    const { name, sha, commit } = found;
    const git = (args: string[]) => this.#git.run(['-C', dir, ...args]);
    await git(['init', '--quiet', `--object-format=${objectFormat(sha)}`, '.']);
    await git(['remote', 'add', 'origin', remote]);
    const fetch = ['fetch', '--quiet', '--no-write-fetch-head', '--depth=1', `file://${this.#dir}`, sha];
    await this.#git.run([...local.args, '-C', dir, ...fetch], { env: local.env });
    if (name.startsWith('refs/')) await git(['update-ref', name, sha]);
    if (name.startsWith(branches)) {
      await git(['update-ref', `refs/remotes/origin/${name.slice(branches.length)}`, commit]);
    }
    await git(['checkout', '--quiet', '--detach', commit]);
    if (!submodules) return;
    const update = ['submodule', 'update', '--init', '--recursive'];
    try {
      await git([...update, '--depth=1']);
    } catch (err) {
      if (!isShallowRefusal(err)) throw err;
      await git(update);
    }
  }
}

const branches = 'refs/heads/';

/** Makes a bare repository, in a folder that is empty or missing, that gives out any of its objects. */
async function init(git: Git, dir: string, format: string): Promise<void> {
  await git.run(['init', '--quiet', '--bare', `--object-format=${format}`, dir]);
  await git.run(['--git-dir', dir, 'config', 'uploadpack.allowAnySHA1InWant', 'true']);
}

/** Our own ref for a commit that is here in full. */
function kept(sha: string): string {
  return `refs/drydock/${sha}`;
}

/** The hash by which a repository's objects are named, told from the length of a name. */
function objectFormat(sha: string): 'sha1' | 'sha256' {
  return sha.length === 64 ? 'sha256' : 'sha1';
}

/**
 * Whether git failed only because it could not fetch less than everything, as with repositories that are served as
 * plain files.
 */
function isShallowRefusal(err: unknown): boolean {
  return err instanceof DrydockError && /does not support (shallow|--depth)/i.test(err.message);
}
