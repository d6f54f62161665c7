/** The daemons that are measured, each on a root and a socket of its own. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Bench, drydockCommand, folderOf } from '../bench.ts';
import { peer, versionOf } from './peers.ts';
import { startServer } from './servers.ts';
import { until } from './until.ts';

export interface Daemon {
  readonly name: string;
  readonly version: string;
  /** Path of its socket. */
  readonly socket: string;
  /** The daemon's own process. */
  readonly pid: number;
  /** All processes whose trees do its work. */
  readonly servers: readonly number[];
  /** Ends it before the bench does. */
  stop(): Promise<void>;
}

export type StoreKind = 'local' | 'containerd';

/** `drydock daemon`, or `drydock buildkitd` with buildkitd's flags; of this clone unless `command` is another's. */
export async function startDrydock(
  bench: Bench,
  store: StoreKind,
  as: 'daemon' | 'buildkitd' = 'daemon',
  { kind = 'drydock', command = drydockCommand, flags = [] as readonly string[] } = {},
): Promise<Daemon> {
  const name = `${kind}-${as}-${store}`;
  const root = folderOf(bench, name);
  const socket = join(root, 'sock');
  const containerd = store === 'containerd' ? await startContainerd(bench, `${name}-containerd`) : undefined;
  const args = ['--root', join(root, 'data'), as];
  if (as === 'daemon') {
    args.push('--host', `unix://${socket}`, '--image-store', store, '--log-level', 'warn');
    if (containerd !== undefined) args.push('--containerd-address', containerd.socket);
    args.push(...flags);
  } else {
    args.push('--addr', `unix://${socket}`, ...workerFlags(containerd));
  }
  const server = await startServer(command, args, join(root, 'log'));
  bench.atEnd(() => server.stop());
  await answering(socket, server.log);
  return {
    name: `${kind} ${store}`,
    version: execFileSync(command, ['--version'], { encoding: 'utf8' }).trim(),
    socket,
    pid: server.pid,
    stop: () => server.stop(),
    servers: containerd === undefined ? [server.pid] : [server.pid, containerd.pid],
  };
}

/** dockerd with a containerd of its own, on its own store or (from version 23 on) on that containerd's. */
export async function startDockerd(bench: Bench, store: StoreKind = 'local'): Promise<Daemon> {
  const command = peer(bench, 'DOCKERD', 'dockerd');
  if (command === undefined)
    throw new Error('dockerd is needed: install docker.io, or name one with DOCKERD=');
  const root = folderOf(bench, `dockerd-${store}`);
  const socket = join(root, 'sock');
  const folders = ['--data-root', join(root, 'data'), '--exec-root', join(root, 'exec')];
  const [file = '', ...before] = command;
  const server = await startServer(
    file,
    [
      ...before,
      ...folders,
      ...(store === 'containerd' ? ['--feature', 'containerd-snapshotter=true'] : []),
      // Its bridge and its rules are not wanted on the machine; steps run on the host's network, as ours do.
      ...['--bridge=none', '--iptables=false', '--ip6tables=false'],
      ...['--pidfile', join(root, 'pid'), '-H', `unix://${socket}`, '--log-level', 'error'],
    ],
    join(root, 'log'),
  );
  bench.atEnd(() => server.stop());
  await answering(socket, server.log);
  return {
    name: store === 'local' ? 'dockerd' : 'dockerd containerd',
    version: versionOf(command),
    socket,
    pid: server.pid,
    stop: () => server.stop(),
    servers: [server.pid],
  };
}

/** dockerd once for each store that its version has. */
export async function startDockerds(bench: Bench): Promise<Daemon[]> {
  const first = await startDockerd(bench);
  const version = Number(/version (\d+)/.exec(first.version)?.[1] ?? 0);
  return version < 23 ? [first] : [first, await startDockerd(bench, 'containerd')];
}

/** buildkitd, with runc and its own store, or with a containerd of its own. */
export async function startBuildkitd(bench: Bench, store: StoreKind, binary: string): Promise<Daemon> {
  const name = `buildkitd-${store}`;
  const root = folderOf(bench, name);
  const socket = join(root, 'sock');
  const containerd = store === 'containerd' ? await startContainerd(bench, `${name}-containerd`) : undefined;
  const args = ['--root', join(root, 'data'), '--addr', `unix://${socket}`, ...workerFlags(containerd)];
  const server = await startServer(binary, args, join(root, 'log'));
  bench.atEnd(() => server.stop());
  await answering(socket, server.log);
  const version = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
  return {
    name: `buildkitd ${store}`,
    version,
    socket,
    pid: server.pid,
    stop: () => server.stop(),
    servers: containerd === undefined ? [server.pid] : [server.pid, containerd.pid],
  };
}

/** buildkitd's flags for its two workers, which ours has too. */
function workerFlags(containerd: { socket: string } | undefined): string[] {
  if (containerd === undefined) return ['--oci-worker=true', '--containerd-worker=false'];
  return ['--oci-worker=false', '--containerd-worker=true', '--containerd-worker-addr', containerd.socket];
}

async function startContainerd(bench: Bench, name: string): Promise<{ socket: string; pid: number }> {
  const root = folderOf(bench, name);
  const socket = join(root, 'sock');
  const config = join(root, 'config.toml');
  const quoted = (path: string) => JSON.stringify(join(root, path));
  writeFileSync(
    config,
    [
      'version = 2',
      `root = ${quoted('root')}`,
      `state = ${quoted('state')}`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      `[grpc]\naddress = ${JSON.stringify(socket)}`,
      `[ttrpc]\naddress = ${quoted('ttrpc')}`,
      '',
    ].join('\n'),
  );
  const server = await startServer('containerd', ['-c', config], join(root, 'log'));
  bench.atEnd(() => server.stop());
  await answering(socket, server.log);
  return { socket, pid: server.pid };
}

/** Waits until a socket takes connections. */
async function answering(socket: string, log: () => string): Promise<void> {
  try {
    await until(
      () =>
        new Promise<void>((resolve, reject) => {
          const probe = connect(socket, () => {
            probe.destroy();
            resolve();
          });
          probe.once('error', reject);
        }),
    );
  } catch (err) {
    throw new Error(`nothing answers at ${socket}:\n${log()}`, { cause: err });
  }
}
