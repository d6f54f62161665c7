/** LLB's FileOp: copies, new files and folders, links and deletions, without a container. */
import { randomUUID } from 'node:crypto';
import { DrydockError, fail, toDrydockError } from '../errors/index.ts';
import type { ContentSelector, FileActionSpec, OwnerId, OwnerSpec, ViewSpec } from '../fs/index.ts';
import { clone, FileActionSchema, toBinary } from '../llb/index.ts';
import { digestOf } from '../oci/index.ts';
import type { ChownOpt, FileAction, FileActionCopy, FileOp, Op, UserOpt } from '../pb/solver/pb/ops_pb.js';
import { parentOf, writeSnapshot } from '../refs/index.ts';
import { type CacheDep, type CacheMap, leave, refContext } from '../solver/index.ts';
import { createdByLabel, type Ref, type RefContext } from '../store/index.ts';
import { hasWildcard, withoutEnd } from '../words/index.ts';
import type { OpDeps, OpMaker } from './deps.ts';
import { namedOwners, type Operand, operandOf, ownerOf, planFileOp } from './file-plan.ts';

export const fileOp: OpMaker = (vertex, deps) => {
  const { op } = vertex.op;
  if (op.case !== 'file') throw fail('invalid', 'llb', 'not a file op');
  const file = op.value;
  const inputs = vertex.inputs.length;
  const plan = planFileOp(file, inputs);
  return {
    async cacheMap() {
      return fileCacheMap(file, inputs);
    },
    async exec(refs, ctx) {
      const run = new FileRun(vertex.op, file, refs, deps, refContext(ctx), vertex.name);
      for (const { base, actions } of plan.segments) await run.segment(base, actions);
      return plan.outputs.map((action) => run.result(action));
    },
  };
};

/**
 * The cache map of a file op. The op's own digest is over its actions. The place that a file was copied from is left
 * out of it, but not the file's name, for the copied content stands for the place. An input that is only read is keyed
 * by the content that is selected from it.
 */
export function fileCacheMap(op: FileOp, inputs: number): CacheMap {
  const built = new Set<number>();
  const selectors = new Map<number, ContentSelector[]>();
  const select = (operand: Operand, selector: ContentSelector) => {
    if (operand === undefined || !('input' in operand)) return;
    const list = selectors.get(operand.input);
    if (list === undefined) selectors.set(operand.input, [selector]);
    else list.push(selector);
  };
  for (const [i, action] of op.actions.entries()) {
    const base = operandOf(action.input, inputs, i);
    if (base !== undefined && 'input' in base) built.add(base.input);
    if (action.action.case === 'copy') {
      select(operandOf(action.secondaryInput, inputs, i), copySelector(action.action.value));
    }
    for (const { input, file } of namedOwners(ownerOf(action))) {
      select(operandOf(input, inputs, i), { path: file, followLinks: true });
    }
  }
  const actions = op.actions.map((action, i) => {
    const from = action.action.case === 'copy' ? operandOf(action.secondaryInput, inputs, i) : undefined;
    if (from === undefined || !('input' in from) || built.has(from.input))
      return toBinary(FileActionSchema, action);
    const named = clone(FileActionSchema, action);
    if (named.action.case === 'copy') named.action.value.src = baseName(named.action.value.src);
    return toBinary(FileActionSchema, named);
  });
  const deps: CacheDep[] = Array.from({ length: inputs }, (_, i) => {
    const content = selectors.get(i);
    return content === undefined || built.has(i) ? {} : { content: uniqueSelectors(content) };
  });
  return { digest: digestOf(`file ${JSON.stringify(actions.map((bytes) => digestOf(bytes)))}`), deps };
}

function copySelector(copy: FileActionCopy): ContentSelector {
  return {
    path: copy.src || '/',
    wildcard: copy.allowWildcard && hasWildcard(copy.src),
    followLinks: copy.followSymlink,
    ...(copy.includePatterns.length > 0 ? { includes: copy.includePatterns } : {}),
    ...(copy.excludePatterns.length > 0 ? { excludes: copy.excludePatterns } : {}),
    ...(copy.requiredPaths.length > 0 ? { required: copy.requiredPaths } : {}),
  };
}

function uniqueSelectors(list: readonly ContentSelector[]): ContentSelector[] {
  const byText = new Map(list.map((selector) => [JSON.stringify(selector), selector]));
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, selector]) => selector);
}

function baseName(path: string): string {
  const trimmed = withoutEnd(path, '/');
  return trimmed === '' ? (path === '' ? '.' : '/') : trimmed.slice(trimmed.lastIndexOf('/') + 1);
}

/** One run of a file op. */
class FileRun {
  readonly #pb: Op;
  readonly #op: FileOp;
  readonly #inputs: readonly Ref[];
  readonly #deps: OpDeps;
  readonly #ctx: RefContext;
  readonly #step: string;
  /** The results so far, by action. */
  readonly #made = new Map<number, Ref>();
  readonly #views = new Map<Ref, Promise<ViewSpec>>();

  constructor(pb: Op, op: FileOp, inputs: readonly Ref[], deps: OpDeps, ctx: RefContext, step: string) {
    this.#pb = pb;
    this.#op = op;
    this.#inputs = inputs;
    this.#deps = deps;
    this.#ctx = ctx;
    this.#step = step;
  }

  /** The tree that an action at a segment's end has made. */
  result(action: number): Ref {
    const ref = this.#made.get(action);
    if (ref === undefined) throw fail('internal', 'file', `file action ${action} has not run`);
    return ref;
  }

  /** Applies actions to a snapshot on `base` and commits it. */
  async segment(base: Operand, actions: readonly number[]): Promise<void> {
    const id = randomUUID();
    const name = `file-${id}`;
    try {
      const [parent, specs] = await Promise.all([
        parentOf(base && this.#ref(base), this.#ctx),
        Promise.all(actions.map((i) => this.#spec(i))),
      ]);
      const labels = createdByLabel(this.#step);
      const key = `file-active-${id}`;
      const onFailure = (error: DrydockError) => this.#leave(error, actions, key);
      const what = { name, key, parent, actions: specs, labels, onFailure };
      await writeSnapshot(this.#deps.store, what, this.#ctx);
    } catch (err) {
      const error = toDrydockError(err, 'file');
      if (error.code !== 'canceled') error.hop ??= 'file';
      throw error;
    }
    this.#made.set(actions[actions.length - 1] as number, this.#deps.refs.snapshot(name));
  }

  /**
   * Keeps the trees that a failed action was given and has made, and those of the actions before it, for a debugger.
   */
  async #leave(error: DrydockError, actions: readonly number[], active: string): Promise<void> {
    const at = error.details?.action;
    const failed = typeof at === 'number' ? actions[at] : undefined;
    if (failed === undefined) return;
    const { store, refs } = this.#deps;
    const what = { op: this.#pb, inputs: this.#inputs, subject: { file: failed } };
    await leave(error, store, what, async (lease) => {
      const name = `failed-${randomUUID()}`;
      await store.snapshots.commit(name, active, { lease });
      const left = refs.snapshot(name);
      return this.#op.actions.map((_, i) => (actions.includes(i) && i <= failed ? left : this.#made.get(i)));
    });
  }

  #ref(operand: NonNullable<Operand>): Ref {
    if ('action' in operand) return this.result(operand.action);
    const ref = this.#inputs[operand.input];
    if (ref === undefined) throw fail('invalid', 'llb', `a file op has no input ${operand.input}`);
    return ref;
  }

  #view(index: bigint, i: number): Promise<ViewSpec> {
    const operand = operandOf(index, this.#inputs.length, i);
    if (operand === undefined) return Promise.resolve({ kind: 'empty' });
    const ref = this.#ref(operand);
    let view = this.#views.get(ref);
    if (view === undefined) {
      view = ref.view(this.#ctx);
      this.#views.set(ref, view);
    }
    return view;
  }

  async #spec(i: number): Promise<FileActionSpec> {
    const pb = this.#op.actions[i] as FileAction;
    const { action } = pb;
    switch (action.case) {
      case 'mkdir': {
        const { path, mode, makeParents } = action.value;
        return { kind: 'mkdir', path, mode, makeParents, ...(await this.#common(action.value, i)) };
      }
      case 'mkfile': {
        const { path, mode, data } = action.value;
        return { kind: 'mkfile', path, mode, data, ...(await this.#common(action.value, i)) };
      }
      case 'symlink': {
        const { oldpath, newpath } = action.value;
        return { kind: 'symlink', oldpath, newpath, ...(await this.#common(action.value, i)) };
      }
      case 'rm': {
        const { path, allowNotFound, allowWildcard } = action.value;
        return { kind: 'rm', path, allowNotFound, allowWildcard };
      }
      case 'copy':
        return {
          ...copyFields(action.value),
          source: await this.#view(pb.secondaryInput, i),
          // Containers run on a shared store's snapshots: a program in one (cron) may want files of one name.
          link: !this.#deps.store.shared,
          ...(await this.#common(action.value, i)),
        };
      default:
        throw new DrydockError('unknown file action', { code: 'invalid', hop: 'llb' });
    }
  }

  async #common(
    action: { owner?: ChownOpt | undefined; timestamp: bigint },
    i: number,
  ): Promise<{ owner?: OwnerSpec; timestampNs?: bigint }> {
    const { owner, timestamp } = action;
    const [user, group] = await Promise.all([this.#owner(owner?.user, i), this.#owner(owner?.group, i)]);
    return {
      ...(user === undefined && group === undefined ? {} : { owner: { user, group } }),
      ...(timestamp < 0n ? {} : { timestampNs: timestamp }),
    };
  }

  async #owner(opt: UserOpt | undefined, i: number): Promise<OwnerId | undefined> {
    const user = opt?.user;
    if (user?.case === 'byID') return { id: user.value };
    if (user?.case !== 'byName') return undefined;
    return { name: user.value.name, in: await this.#view(user.value.input, i) };
  }
}

function copyFields(copy: FileActionCopy): Omit<Extract<FileActionSpec, { kind: 'copy' }>, 'source'> {
  return {
    kind: 'copy',
    src: copy.src,
    dest: copy.dest,
    mode: copy.modeStr || (copy.mode >= 0 ? copy.mode.toString(8) : undefined),
    followSymlink: copy.followSymlink,
    dirCopyContents: copy.dirCopyContents,
    unpack: copy.attemptUnpackDockerCompatibility,
    createDestPath: copy.createDestPath,
    allowWildcard: copy.allowWildcard,
    allowEmptyWildcard: copy.allowEmptyWildcard,
    includes: copy.includePatterns,
    excludes: copy.excludePatterns,
    alwaysReplaceExistingDestPaths: copy.alwaysReplaceExistingDestPaths,
    requiredPaths: copy.requiredPaths,
  };
}
