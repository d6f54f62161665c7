/** A bare repository per remote under the store's root, so that a commit is fetched once, and shallowly. */
import { DrydockError, fail } from '../errors/error.ts';
import type { HeldFolder } from '../kept/instance.ts';
import type { KeptFolders } from '../kept/kept-folders.ts';
import type { Git } from './git-run.ts';

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
   * Opens (or makes) an owner's mirror of a remote and keeps other processes and builds out until `close`. A repository
   * has one kind of object names, SHA-1's or SHA-256's; `sha` is a commit of it.
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
    try {
      const dir = await held.data({
        async fill(empty) {
          await git.run(['init', '--quiet', '--bare', `--object-format=${format}`, empty]);
          await git.run(['--git-dir', empty, 'config', 'uploadpack.allowAnySHA1InWant', 'true']);
        },
      });
      return new GitMirror(dir, remote, git, held);
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

  async #has(sha: string): Promise<boolean> {
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
   * Brings a commit here: first shallowly by its ref, then by itself (the ref may have moved), then, where the server
   * gives out no single commits, with all branches and tags.
   */
  async fetch(ref: string, sha: string): Promise<void> {
    if (await this.#has(sha)) return;
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

  /** Brings an annotated tag's object here, whose commit is here already. Throws `not-found` when the tag has moved. */
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

  /** The commit that a tag is of, maybe by way of other tags. */
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

  /** Writes a commit's files, and nothing of git's, into an empty folder. */
  async export(dir: string, sha: string): Promise<void> {
    const env = { GIT_INDEX_FILE: this.#git.temp('index') };
    const tree = ['-c', 'core.bare=false', '--work-tree', dir];
    await this.#run([...tree, 'read-tree', sha], { env });
    await this.#run([...tree, 'checkout-index', '--all', '--force', `--prefix=${dir}/`], { env });
  }

  /** Makes a repository of its own in an empty folder, checked out at a commit, with submodules if asked. */
  async clone(dir: string, remote: string, sha: string, ref: string, submodules: boolean): Promise<void> {
    const git = (args: string[]) => this.#git.run(['-C', dir, ...args]);
    await git(['init', '--quiet', `--object-format=${objectFormat(sha)}`, '.']);
    await git(['remote', 'add', 'origin', remote]);
    const local = { GIT_ALLOW_PROTOCOL: 'file' };
    await this.#git.run(
      [
        '-c',
        'protocol.file.allow=always',
        '-C',
        dir,
        'fetch',
        '--quiet',
        '--depth=1',
        `file://${this.#dir}`,
        sha,
      ],
      { env: local },
    );
    if (ref !== '' && !/^[0-9a-f]{40,64}$/.test(ref)) {
      const name = ref.startsWith('refs/') ? ref : `refs/heads/${ref}`;
      if (name.startsWith('refs/heads/'))
        await git(['update-ref', `refs/remotes/origin/${name.slice(11)}`, sha]);
      else await git(['update-ref', name, sha]);
    }
    await git(['checkout', '--quiet', '--detach', sha]);
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

/** Our own ref for a commit that is here in full. */
function kept(sha: string): string {
  return `refs/drydock/${sha}`;
}

/** The hash that a repository's objects are named by, told from the length of one's name. */
function objectFormat(sha: string): 'sha1' | 'sha256' {
  return sha.length === 64 ? 'sha256' : 'sha1';
}

/** Whether git could only not fetch less than everything: repositories served as plain files are such. */
function isShallowRefusal(err: unknown): boolean {
  return err instanceof DrydockError && /does not support (shallow|--depth)/i.test(err.message);
}
