/** docker's command line, in the versions that this machine has, at a daemon and a registry of the test's. */
import { copyFileSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type DockerOptions, startTestDaemon, type TestDaemon } from './daemon.ts';
import { startRegistry, type TestRegistry } from './registry.ts';
import { type OneStore, onStores } from './stores.ts';

interface Cli {
  /** Of the version: `20.10`. */
  version: string;
  path: string;
  /** Values of DOCKER_BUILDKIT: `0` is the builder of old, `1` BuildKit over a session. */
  builders: readonly ('0' | '1')[];
}

/**
 * Debian's package docker.io has 20.10. 28 is no package of Debian's: it is tested where somebody has put it, and where
 * not, a test that says so is counted as skipped. Its BuildKit is buildx, a plugin; test/api/buildkit is about that.
 */
const clis: readonly Cli[] = [
  { version: '20.10', path: '/usr/bin/docker', builders: ['1', '0'] },
  { version: '28', path: '/usr/local/bin/docker', builders: ['0'] },
];

type Ended = Awaited<ReturnType<TestDaemon['docker']>>;

export interface DockerCli extends Cli {
  /** Whether it is the one that all is tried with; the daemon's side of most flags is the same for every version. */
  readonly thorough: boolean;
  readonly daemon: TestDaemon;
  readonly registry: TestRegistry;
  run(args: string[], options?: DockerOptions): Promise<Ended>;
  /** Its stdout; it must end well. */
  docker(...args: string[]): Promise<string>;
  idOf(image: string): Promise<string>;
  /**
   * A folder with busybox, files, and a Dockerfile: `FROM scratch`, `COPY busybox /bin/sh` and the steps, or, when
   * these begin with FROM, the steps alone.
   */
  contextOf(steps: string, files?: Record<string, string>): string;
}

/** The same tests with each CLI on each store. `daemon` and `registry` are there in hooks and tests. */
export function onDockerClis(name: string, tests: (cli: DockerCli, store: OneStore) => void): void {
  onStores(name, (store) => {
    let daemon: TestDaemon | undefined;
    let registry: TestRegistry | undefined;
    beforeAll(async () => {
      registry = await startRegistry();
      daemon = await startTestDaemon(store.options());
    });
    afterAll(async () => {
      await daemon?.stop();
      await registry?.stop();
    });
    for (const cli of clis) {
      if (!existsSync(cli.path)) {
        test.skip(`docker CLI ${cli.version} was NOT TESTED: this machine has no ${cli.path}`);
        continue;
      }
      describe(`docker CLI ${cli.version}`, () => {
        tests(
          bind(cli, () => {
            if (daemon === undefined || registry === undefined)
              throw new Error('ask for it in a hook or a test');
            return { daemon, registry };
          }),
          store,
        );
      });
    }
  });
}

function bind(cli: Cli, parts: () => { daemon: TestDaemon; registry: TestRegistry }): DockerCli {
  const run: DockerCli['run'] = (args, options) => parts().daemon.docker(args, { cli: cli.path, ...options });
  const docker = async (...args: string[]) => {
    const result = await run(args);
    expect(result, args.join(' ')).toMatchObject({ code: 0 });
    return result.stdout;
  };
  return {
    ...cli,
    thorough: cli === clis[0],
    get daemon() {
      return parts().daemon;
    },
    get registry() {
      return parts().registry;
    },
    run,
    docker,
    idOf: async (image) => (await docker('inspect', '--format', '{{.Id}}', image)).trim(),
    contextOf(steps, files = {}) {
      const dir = mkdtempSync(join(parts().daemon.dir, 'context-'));
      const text = steps.startsWith('FROM') ? steps : `FROM scratch\nCOPY busybox /bin/sh\n${steps}`;
      writeFileSync(join(dir, 'Dockerfile'), `${text}\n`);
      copyFileSync('/bin/busybox', join(dir, 'busybox'));
      for (const [path, data] of Object.entries(files)) writeFileSync(join(dir, path), data);
      return dir;
    },
  };
}
