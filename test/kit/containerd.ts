/** A real containerd with its own folders and socket, which goes away with the test. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unmountBelow } from '../../src/store/shared/run-folder.ts';

export interface TestContainerd {
  /** Path of its socket. */
  readonly address: string;
  /** Where containerd keeps its things. */
  readonly root: string;
  /** A folder for whatever the test needs, removed by `stop`. */
  readonly dir: string;
  /** Runs `ctr` in a namespace; gives what it printed. */
  ctr(namespace: string, ...args: string[]): string;
  /** Ends it, `SIGKILL` by default. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same folders. */
  start(): Promise<void>;
  log(): string;
  stop(): Promise<void>;
}

export interface TestContainerdOptions {
  /** Gets the empty folder in which containerd will keep its things, to mount something there. */
  prepare?: (root: string) => void;
  /**
   * `isolated` (default): what one namespace has, another must bring itself. `shared` is containerd's own default: a
   * writer with the digest of a blob of another namespace gets it without sending it.
   */
  sharing?: 'isolated' | 'shared';
  /**
   * When containerd collects by itself. `lazy` (default): about a second after something was
   * deleted, at its next tick, and not because of changes; `eager`: after every
   * deletion and a few changes, so that whatever is not held is gone at once; `usual`: as it is set up by default.
   */
  gc?: 'lazy' | 'eager' | 'usual';
  /** Further snapshotters: name → the socket of the program that is it. */
  snapshotters?: Record<string, string>;
}

/** Starts a containerd with nothing in it. Call `stop` in `afterAll`. */
export async function startContainerd(options: TestContainerdOptions = {}): Promise<TestContainerd> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-containerd-'));
  const root = join(dir, 'root');
  const address = join(dir, 'containerd.sock');
  const config = join(dir, 'config.toml');
  const logFile = join(dir, 'log');
  const off = ['grpc.v1.cri', 'internal.v1.opt', 'snapshotter.v1.btrfs', 'snapshotter.v1.zfs'];
  off.push('snapshotter.v1.devmapper', 'snapshotter.v1.aufs', 'tracing.processor.v1.otlp');
  const lines = [
    'version = 2',
    `root = ${JSON.stringify(root)}`,
    `state = ${JSON.stringify(join(dir, 'state'))}`,
    `disabled_plugins = [${off.map((id) => `"io.containerd.${id}"`).join(', ')}]`,
    `[grpc]\naddress = ${JSON.stringify(address)}`,
    `[ttrpc]\naddress = ${JSON.stringify(join(dir, 'ttrpc.sock'))}`,
    `[plugins."io.containerd.metadata.v1.bolt"]\ncontent_sharing_policy = "${options.sharing ?? 'isolated'}"`,
  ];
  const { gc = 'lazy' } = options;
  if (gc !== 'usual') {
    const often = gc === 'eager';
    lines.push(
      '[plugins."io.containerd.gc.v1.scheduler"]',
      `mutation_threshold = ${often ? 2 : 1_000_000}\ndeletion_threshold = ${often ? 1 : 1_000_000}`,
      ...(often ? ['pause_threshold = 0.5\nschedule_delay = "0ms"\nstartup_delay = "1ms"'] : []),
    );
  }
  for (const [name, socket] of Object.entries(options.snapshotters ?? {})) {
    lines.push(`[proxy_plugins.${name}]\ntype = "snapshot"\naddress = ${JSON.stringify(socket)}`);
  }
  writeFileSync(config, `${lines.join('\n')}\n`);
  writeFileSync(logFile, '');
  mkdirSync(root);
  options.prepare?.(root);
  let child: ChildProcess | undefined;

  const start = async () => {
    const started = spawn('sh', ['-c', `exec containerd -c "$0" >>"$1" 2>&1`, config, logFile], {
      stdio: 'ignore',
    });
    child = started;
    for (let i = 0; !(await answers(address)); i++) {
      if (started.exitCode !== null || i === 200) {
        throw new Error(`containerd did not start: ${readFileSync(logFile, 'utf8')}`);
      }
      await sleep(50);
    }
  };
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  };
  const stop = async () => {
    await kill();
    unmountBelow(dir);
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (err) {
    await stop();
    throw err;
  }
  return {
    address,
    root,
    dir,
    ctr: (namespace, ...args) =>
      execFileSync('ctr', ['--address', address, '--namespace', namespace, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    kill,
    start,
    log: () => readFileSync(logFile, 'utf8'),
    stop,
  };
}

function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once('connect', () => resolve(true));
  socket.once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}
