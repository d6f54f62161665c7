/** `drydock doctor` at a daemon: whether the daemon can be used from here, and its own findings. */
import { createClient } from '@connectrpc/connect';
import { toDrydockError } from '../../errors/index.ts';
import type { Check } from '../../executor/index.ts';
import { Control } from '../../pb/moby/buildkit/v1/control_pb.js';
import { ask, askJson } from './endpoint.ts';
import { failureOf } from './failure.ts';
import { grpcTo } from './grpc.ts';
import type { RemoteCall } from './images.ts';

interface InfoJson {
  OperatingSystem?: string;
  Architecture?: string;
  Driver?: string;
  DriverStatus?: [string, string][] | null;
  DockerRootDir?: string;
  Warnings?: string[] | null;
}

/** The checks, in order. When one finds that the daemon is not there, the checks after it are left out. */
export async function remoteChecks(remote: RemoteCall): Promise<Check[]> {
  const { endpoint } = remote;
  const version = await check('daemon', async () => {
    const { Version, ApiVersion } = await get<{ Version: string; ApiVersion: string }>(remote, '/version');
    return `${Version} at ${endpoint.name}, API ${ApiVersion}${endpoint.tls ? ', over TLS' : ''}`;
  });
  if (!version.ok) return [version];
  const checks = [version];
  checks.push(
    await check('health', async () => {
      const { signal } = remote;
      (await ask(endpoint, { method: 'GET', path: '/healthz', signal })).resume();
      return 'takes requests';
    }),
  );
  let warnings: string[] = [];
  checks.push(
    await check('store', async () => {
      const info = await get<InfoJson>(remote, '/info');
      warnings = info.Warnings ?? [];
      const status = Object.fromEntries(info.DriverStatus ?? []);
      const containerd = status['driver-type']?.startsWith('io.containerd.') ?? false;
      const kind = containerd ? 'containerd' : 'local';
      return `${kind} store in ${info.DockerRootDir}, ${status.Snapshotter ?? info.Driver} snapshots; ${info.OperatingSystem}, ${info.Architecture}`;
    }),
  );
  for (const warning of warnings) {
    const [, name = 'it says', found = warning] = /^lacks ([^:]+): (.*)$/s.exec(warning) ?? [];
    checks.push({ ok: found === warning, name, found, remedy: '' });
  }
  checks.push(
    await check('builds', async () => {
      const transport = grpcTo(endpoint);
      const call = { headers: endpoint.headers, signal: remote.signal };
      try {
        const { record } = await createClient(Control, transport).listWorkers({}, call);
        const platforms = record.flatMap((worker) => worker.platforms);
        const names = new Set(platforms.map(({ OS, Architecture }) => `${OS}/${Architecture}`));
        return `for ${[...names].join(', ')}, over BuildKit's API`;
      } catch (err) {
        throw failureOf(endpoint, err);
      }
    }),
  );
  return checks;
}

function get<T>({ endpoint, signal }: RemoteCall, path: string): Promise<T> {
  return askJson<T>(endpoint, { method: 'GET', path, signal });
}

/** The finding of `work`, or the reason why it could not be made. */
async function check(name: string, work: () => Promise<string>): Promise<Check> {
  try {
    return { ok: true, name, found: await work(), remedy: '' };
  } catch (err) {
    const error = toDrydockError(err);
    const remedy = error.hint ?? 'The daemon’s log says more.';
    return { ok: false, name, found: error.message.split('\n')[0] ?? '', remedy };
  }
}
