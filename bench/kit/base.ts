/** A registry on loopback with the base image of all builds: busybox and its links. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Bench, drydockCommand, folderOf } from '../bench.ts';
import { startServer } from './servers.ts';
import { until } from './until.ts';

/** Serves the base image until the bench ends; gives its name. */
export async function serveBase(bench: Bench): Promise<string> {
  const port = await freePort();
  const folder = folderOf(bench, 'registry');
  const config = join(folder, 'config.yml');
  writeFileSync(
    config,
    JSON.stringify({
      version: 0.1,
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: join(folder, 'data') } },
      http: { addr: `127.0.0.1:${port}` },
    }),
  );
  const server = await startServer('docker-registry', ['serve', config]);
  bench.atEnd(() => server.stop());
  await until(() => fetch(`http://127.0.0.1:${port}/v2/`));
  const base = `localhost:${port}/base:latest`;
  const context = folderOf(bench, 'base');
  execFileSync('sh', ['-c', `cp "$(PATH=$PATH:/usr/sbin:/sbin command -v busybox)" "${context}/busybox"`]);
  writeFileSync(
    join(context, 'Dockerfile'),
    'FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n',
  );
  const root = folderOf(bench, 'base-root');
  execFileSync(drydockCommand, ['--root', root, 'build', '-q', '-t', base, '--push', context]);
  return base;
}

/** A port of loopback that nobody listens at. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
