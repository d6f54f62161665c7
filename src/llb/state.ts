import { fail } from '../errors/index.ts';
import type { ContainerConfig, ImageConfig, Platform } from '../oci/index.ts';
import { type ExecNode, type RunOptions, runNode } from './exec.ts';
import { type CopyOptions, copy, type FileStep, fileNode } from './file.ts';
import type { OpOptions, OutputRef } from './op.ts';
import { absolutePath } from './paths.ts';
import { Variables } from './variables.ts';

/** The settings of a state for the processes that will run on it. */
export interface StateValues {
  readonly env: Variables;
  /** Absolute; `/` at first. */
  readonly dir: string;
  readonly user: string;
  readonly hostname: string;
  readonly platform?: Platform;
  readonly network: 'default' | 'host' | 'none';
  readonly security: 'sandbox' | 'insecure';
  readonly extraHosts: readonly { host: string; ip: string }[];
  readonly ulimits: readonly { name: string; soft: number; hard: number }[];
  readonly cgroupParent: string;
}

const initial: StateValues = {
  env: Variables.of(),
  dir: '/',
  user: '',
  hostname: '',
  network: 'default',
  security: 'sandbox',
  extraHosts: [],
  ulimits: [],
  cgroupParent: '',
};

/**
 * A file tree that does not exist yet, with the environment of the processes that run on it. It is immutable: every
 * method returns a new state. Nothing is built until `marshal` has made a definition and a daemon solves it.
 *
 *     const src = local('context', { includes: ['src/**'] });
 *     const app = image('node:22').dir('/app').copy(src, 'src', './').run('npm run build');
 *     const definition = marshal(scratch().copy(app, '/app/dist', '/'));
 */
export class State {
  readonly output: OutputRef;
  readonly values: StateValues;

  constructor(output: OutputRef, values: Partial<StateValues> = {}) {
    this.output = output;
    this.values = { ...initial, ...values };
  }

  /** Returns this state's values on another tree. */
  withOutput(output: OutputRef): State {
    return new State(output, this.values);
  }

  /** Returns the same tree with some values changed. */
  with(values: Partial<StateValues>): State {
    return new State(this.output, { ...this.values, ...values });
  }

  /** Sets an environment variable; undefined removes it. A variable set again moves to the end. */
  env(name: string, value: string | undefined): State {
    const { env } = this.values;
    return this.with({ env: value === undefined ? env.delete(name) : env.set(name, value) });
  }

  /** Sets the working directory; a relative path is below the present one. */
  dir(path: string): State {
    return this.with({ dir: absolutePath(this.values.dir, path) });
  }

  user(user: string): State {
    return this.with({ user });
  }

  platform(platform: Platform): State {
    return this.with({ platform });
  }

  /** Takes over environment, working directory and platform from an image's config. */
  withImageConfig(config: ImageConfig): State {
    const container: ContainerConfig = config.config ?? {};
    let { env } = this.values;
    for (const entry of container.Env ?? []) {
      const at = entry.indexOf('=');
      if (at !== 0) env = env.set(at < 0 ? entry : entry.slice(0, at), at < 0 ? '' : entry.slice(at + 1));
    }
    let state = this.with({ env });
    if (container.WorkingDir) state = state.dir(container.WorkingDir);
    if (!config.os || !config.architecture) return state;
    const platform: Platform = { os: config.os, architecture: config.architecture };
    if (config.variant) platform.variant = config.variant;
    if (config['os.version']) platform['os.version'] = config['os.version'];
    if (config['os.features']) platform['os.features'] = config['os.features'];
    return state.platform(platform);
  }

  /**
   * Runs a process with this tree as its root. `command`: a list of arguments, or a line for `/bin/sh -c`. Throws
   * `invalid` on an empty command and on two mounts at one place.
   */
  run(command: string | readonly string[], options: RunOptions = {}): ExecState {
    const args = typeof command === 'string' ? ['/bin/sh', '-c', command] : [...command];
    return new ExecState(this, runNode(this, args, options));
  }

  /** Applies file actions to this tree, in order, as one op. */
  file(steps: FileStep | readonly FileStep[], options: OpOptions = {}): State {
    const list = Array.isArray(steps) ? (steps as readonly FileStep[]) : [steps as FileStep];
    return this.withOutput({ node: fileNode(this, list, options), index: 0 });
  }

  /**
   * Copies from another tree. A relative destination is below the working directory.
   *
   *     image('alpine').copy(local('context'), 'src', '/app/', { contentsOnly: true });
   */
  copy(source: State, src: string, dest: string, options: CopyOptions & OpOptions = {}): State {
    return this.file(copy(source, src, dest, options), options);
  }
}

/**
 * The tree after a run, to continue from. `mountOutput(target)` is the tree of another writable mount after the run.
 */
export class ExecState extends State {
  readonly #base: State;
  readonly #node: ExecNode;

  constructor(base: State, node: ExecNode) {
    super(mountedAt(base, node, '/'), base.values);
    this.#base = base;
    this.#node = node;
  }

  /** Returns the tree after the run as a plain state. */
  root(): State {
    return this.withOutput(this.output);
  }

  /** The tree of a mount after the run. Throws `invalid` when nothing is mounted there or the mount has no output. */
  mountOutput(target: string): State {
    const path = absolutePath(this.#node.dir, target);
    return this.withOutput(mountedAt(this.#base, this.#node, path));
  }
}

function mountedAt(base: State, node: ExecNode, path: string): OutputRef {
  const plan = node.mounts.find((mount) => mount.target === path);
  if (plan === undefined) throw fail('invalid', 'llb', `no mount at ${path}`);
  if (plan.output >= 0) return { node, index: plan.output };
  const { mount } = plan;
  const bind = mount.type === undefined || mount.type === 'bind';
  if (bind && mount.readonly) return path === '/' ? base.output : plan.source;
  throw fail('invalid', 'llb', `the ${mount.type ?? 'bind'} mount at ${path} has no output`);
}

/** The empty tree. */
export function scratch(): State {
  return new State(undefined);
}

/** A tree that is decided when the graph is marshalled; `make` is called once. */
export function lazy(make: () => State): State {
  let made: State | undefined;
  return new State({
    get() {
      made ??= make();
      return made.output;
    },
  });
}
