/** A real try of a runtime: a container that does nothing, on the host's own files, with a step's limits. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { closeFd, readText } from '../linux/index.ts';
import { runTask } from '../workers/index.ts';
import type { Assembly } from './assemble.ts';
import { capabilitiesFor } from './capabilities.ts';
import { type CgroupHost, clearGroup } from './cgroups.ts';
import type { confinementFor } from './confinement.ts';
import { runtimeError } from './failure.ts';
import { launchCommand } from './launch.ts';
import { Launcher } from './launcher.ts';
import { ociSpec } from './oci-spec.ts';
import type { Runtime } from './runtime.ts';
import type { ExecSpec } from './types.ts';

/** The number of processes that the container is limited to, by which its limits are told to be in force. */
const pids = 61;

interface TryHost {
  cgroups: CgroupHost;
  bounding: bigint;
  confine: ReturnType<typeof confinementFor>;
  /** The folder that the container's own one is made in. */
  runDir: string;
  /** The name of the container's cgroup. */
  group(id: string): string;
}

/**
 * Runs a container and returns why the runtime does not work, in a phrase; undefined when it works: the container ends
 * well, and its cgroup is there with the limit that was asked for. Leaves nothing behind.
 */
export async function tryRuntime(runtime: Runtime, host: TryHost): Promise<string | undefined> {
  const id = `try-${randomUUID()}`;
  const bundle = resolve(host.runDir, 'exec', id);
  const cgroup = host.group(id);
  const { cgroups } = host;
  let namespace: number | undefined;
  let said = '';
  try {
    mkdirSync(bundle, { recursive: true, mode: 0o700 });
    const spec = specOf(id);
    const capabilities = capabilitiesFor('sandbox', host.bounding);
    const assembly: Assembly = {
      bundle,
      hidden: runtime.hidden,
      root: { type: 'path', path: '/' },
      mounts: [],
      memory: undefined,
      files: [],
      config: {
        path: join(bundle, 'config.json'),
        spec: ociSpec({
          spec,
          rootPath: join(bundle, 'root'),
          user: { uid: 0, gid: 0, groups: [] },
          capabilities,
          confinement: host.confine({ security: 'sandbox', capabilities }),
          cgroup,
          cgroupNamespace: cgroups.kind !== 'v1',
          resources: cgroups.controllers.has('pids') ? { pids: { limit: pids } } : {},
          rlimits: [],
          oomScore: 0,
          devices: [],
          deviceRules: [],
          terminal: false,
          sysfs: undefined,
          emptyNetwork: true,
          hostPids: false,
        }),
      },
    };
    namespace = await runTask('exec.assemble', assembly, { waits: true });
    const command = launchCommand({
      bundle,
      id,
      runtime: runtime.command,
      namespace: `/proc/${process.pid}/fd/${namespace}`,
      network: undefined,
      state: bundle,
      config: bundle,
      withoutCgroups: false,
      hostPids: false,
      pidFile: join(bundle, 'init.pid'),
    });
    const hear = (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-1000);
    };
    const running = new Launcher().start(command, bundle, { stdout: hear, stderr: hear });
    const late = setTimeout(running.kill, 10_000);
    const code = await running.ended.finally(() => clearTimeout(late));
    const error = runtimeError(readText(join(bundle, 'runtime.log')));
    if (error !== undefined) return error;
    if (code !== 0) return firstLine(said) || `it ended with ${code}`;
    const isHeld = cgroups.trees.some(
      (tree) => readText(join(tree, cgroup, 'pids.max')).trim() === `${pids}`,
    );
    if (cgroups.controllers.has('pids') && !isHeld) return 'it does not apply limits';
    return undefined;
  } catch (err) {
    return (err as Error).message;
  } finally {
    if (namespace !== undefined) closeFd(namespace);
    await clearGroup(cgroups, cgroup);
    rmSync(bundle, { recursive: true, force: true });
  }
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? '';
}

function specOf(id: string): ExecSpec {
  return {
    id,
    args: ['/bin/sh', '-c', ':'],
    env: [],
    cwd: '/',
    user: '',
    hostname: '',
    root: { mounts: [], readonly: true },
    mounts: [],
    network: 'none',
    security: 'sandbox',
    extraHosts: [],
    ulimits: [],
    shmSize: 0,
    cgroupParent: '',
  };
}
