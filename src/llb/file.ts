import type { MessageInitShape } from '@bufbuild/protobuf';
import { fail } from '../errors/index.ts';
import { bytesOf } from '../linux/index.ts';
import type { ChownOptSchema, FileActionSchema, Op as PbOp, UserOptSchema } from '../pb/solver/pb/ops_pb.js';
import { constraints } from './message.ts';
import type { InputTable, OpNode, OpOptions, OutputRef } from './op.ts';
import { absolutePath, destinationPath } from './paths.ts';
import { create, FileOpSchema, OpSchema } from './pb.ts';
import type { State } from './state.ts';

interface Made {
  /** `user[:group]` by name (looked up in the tree) or number. */
  chown?: string;
  /** ns since the epoch for the new file; default: now. */
  timestampNs?: bigint;
}

export interface MkdirOptions extends Made {
  /** Default 0755. */
  mode?: number;
  parents?: boolean;
}
export interface MkfileOptions extends Made {
  /** Default 0644. */
  mode?: number;
}
export interface RmOptions {
  allowNotFound?: boolean;
  wildcard?: boolean;
}
export interface CopyOptions extends Made {
  /** Permission bits, or a chmod expression such as `u=rwX,go=rX`; default: those of the source. */
  mode?: number | string;
  /** Whether a symlink at `src` is followed. */
  followSymlinks?: boolean;
  /** Whether a folder's contents are copied instead of the folder. */
  contentsOnly?: boolean;
  includes?: readonly string[];
  excludes?: readonly string[];
  /** Paths that must exist in the source. */
  requiredPaths?: readonly string[];
  /** Whether tar archives are unpacked, as ADD does. */
  unpack?: boolean;
  createDestPath?: boolean;
  wildcard?: boolean;
  allowEmptyWildcard?: boolean;
  /** Whether files are replaced by folders and folders by files. */
  alwaysReplace?: boolean;
}

/** One file action that is not bound to a tree yet. `mkdir`, `mkfile`, `rm`, `symlink` and `copy` make them. */
export interface FileStep {
  readonly caps: readonly string[];
  readonly source?: State;
  /**
   * Encodes the action. `dir`: working directory of the changed tree; `base`: index of the input in which user names
   * are looked up.
   */
  action(dir: string, base: number): MessageInitShape<typeof FileActionSchema>['action'];
}

/** Makes a folder; `parents` makes missing folders above it too. */
export function mkdir(path: string, options: MkdirOptions = {}): FileStep {
  return {
    caps: [],
    action: (dir, base) => ({
      case: 'mkdir',
      value: {
        path: absolutePath(dir, path),
        mode: options.mode ?? 0o755,
        makeParents: options.parents ?? false,
        owner: owner(options.chown, base),
        timestamp: options.timestampNs ?? -1n,
      },
    }),
  };
}

/** Writes a file. */
export function mkfile(path: string, data: string | Uint8Array, options: MkfileOptions = {}): FileStep {
  const bytes = typeof data === 'string' ? bytesOf(data) : data;
  return {
    caps: [],
    action: (dir, base) => ({
      case: 'mkfile',
      value: {
        path: absolutePath(dir, path),
        mode: options.mode ?? 0o644,
        data: bytes,
        owner: owner(options.chown, base),
        timestamp: options.timestampNs ?? -1n,
      },
    }),
  };
}

/** Removes a file or a folder with everything in it. */
export function rm(path: string, options: RmOptions = {}): FileStep {
  return {
    caps: options.wildcard ? ['file.rm.wildcard'] : [],
    action: (dir) => ({
      case: 'rm',
      value: {
        path: absolutePath(dir, path),
        allowNotFound: options.allowNotFound ?? false,
        allowWildcard: options.wildcard ?? false,
      },
    }),
  };
}

/** Makes `path` a symlink to `target`, which is stored exactly as given. */
export function symlink(target: string, path: string, options: Made = {}): FileStep {
  return {
    caps: ['file.symlink.create'],
    action: (dir, base) => ({
      case: 'symlink',
      value: {
        oldpath: target,
        newpath: absolutePath(dir, path),
        owner: owner(options.chown, base),
        timestamp: options.timestampNs ?? -1n,
      },
    }),
  };
}

/**
 * Copies from another tree. A relative `src` is below that tree's working directory.
 *
 *     scratch().file(copy(image('alpine'), '/etc/os-release', '/', { mode: 0o644 }));
 */
export function copy(source: State, src: string, dest: string, options: CopyOptions = {}): FileStep {
  const caps: string[] = [];
  if (options.includes?.length || options.excludes?.length) caps.push('file.copy.includeexcludepatterns');
  if (options.requiredPaths?.length) caps.push('file.copy.requiredpaths');
  if (options.alwaysReplace) caps.push('file.copy.alwaysreplaceexistingdestpaths');
  if (typeof options.mode === 'string') caps.push('file.copy.modestring');
  return {
    caps,
    source,
    action: (dir, base) => ({
      case: 'copy',
      value: {
        src: absolutePath(source.values.dir, src),
        dest: destinationPath(dir, dest),
        owner: owner(options.chown, base),
        mode: typeof options.mode === 'number' ? options.mode : typeof options.mode === 'string' ? 0 : -1,
        modeStr: typeof options.mode === 'string' ? options.mode : '',
        followSymlink: options.followSymlinks ?? false,
        dirCopyContents: options.contentsOnly ?? false,
        attemptUnpackDockerCompatibility: options.unpack ?? false,
        createDestPath: options.createDestPath ?? false,
        allowWildcard: options.wildcard ?? false,
        allowEmptyWildcard: options.allowEmptyWildcard ?? false,
        timestamp: options.timestampNs ?? -1n,
        includePatterns: [...(options.includes ?? [])],
        excludePatterns: [...(options.excludes ?? [])],
        requiredPaths: [...(options.requiredPaths ?? [])],
        alwaysReplaceExistingDestPaths: options.alwaysReplace ?? false,
      },
    }),
  };
}

function owner(chown: string | undefined, base: number): MessageInitShape<typeof ChownOptSchema> | undefined {
  if (chown === undefined || chown === '') return undefined;
  const colon = chown.indexOf(':');
  const user = colon < 0 ? chown : chown.slice(0, colon);
  const group = colon < 0 ? '' : chown.slice(colon + 1);
  return { user: principal(user, base), group: principal(group, base) };
}

function principal(name: string, base: number): MessageInitShape<typeof UserOptSchema> | undefined {
  if (name === '') return undefined;
  if (name === 'root') return { user: { case: 'byID', value: 0 } };
  if (/^[0-9]+$/.test(name)) {
    const value = Number(name);
    if (value > 0xffff_ffff) throw fail('invalid', 'llb', `the id ${name} is out of range`);
    return { user: { case: 'byID', value } };
  }
  return { user: { case: 'byName', value: { name, input: BigInt(base) } } };
}

/** Makes the op that applies steps to a state's tree. */
export function fileNode(base: State, steps: readonly FileStep[], options: OpOptions): OpNode {
  if (steps.length === 0) throw fail('invalid', 'llb', 'a file op needs an action');
  return new FileNode(base, steps, options);
}

class FileNode implements OpNode {
  readonly options: OpOptions;
  readonly #base: State;
  readonly #steps: readonly FileStep[];

  constructor(base: State, steps: readonly FileStep[], options: OpOptions) {
    this.#base = base;
    this.#steps = steps;
    this.options = options;
  }

  get caps(): string[] {
    return ['file.base', ...this.#steps.flatMap((step) => step.caps)];
  }

  *inputs(): Generator<OutputRef> {
    yield this.#base.output;
    for (const step of this.#steps) if (step.source !== undefined) yield step.source.output;
  }

  /** The inputs of an action are numbered: first the op's inputs, then the results of the actions before it. */
  encode(inputs: InputTable): PbOp {
    const { dir } = this.#base.values;
    const base = inputs.add(this.#base.output);
    const secondary = this.#steps.map((step) =>
      step.source === undefined ? -1 : inputs.add(step.source.output),
    );
    const count = inputs.list.length;
    const last = this.#steps.length - 1;
    const actions = this.#steps.map((step, i) => ({
      input: BigInt(i === 0 ? base : count + i - 1),
      secondaryInput: BigInt(secondary[i] ?? -1),
      output: i === last ? 0n : -1n,
      action: step.action(dir, base),
    }));
    return create(OpSchema, {
      op: { case: 'file', value: create(FileOpSchema, { actions }) },
      constraints: constraints(),
    });
  }
}
