/**
 * Makes the executor's spec from LLB's description of a process. It serves steps, frontends, and the containers of
 * frontends.
 */
import type { ExecSpec } from '../../executor/index.ts';
import { ulimitsOf } from '../../llb/index.ts';
import type { Meta, SecretEnv } from '../../pb/solver/pb/ops_pb.js';
import type { WorkContext } from '../../solver/index.ts';
import { findSecret, type PreparedMounts } from './mounts.ts';

/** LLB's description of a process. Everything but the command may be left out. */
type ProcessMeta = Pick<Meta, 'args' | 'cwd'> &
  Partial<
    Pick<Meta, 'user' | 'hostname' | 'extraHosts' | 'ulimit' | 'cgroupParent' | 'removeMountStubsRecursive'>
  >;

/** The parts of the spec that LLB's description has not, or has elsewhere. */
interface ProcessPlace {
  root: NonNullable<PreparedMounts['root']>;
  mounts: ExecSpec['mounts'];
  /** All variables, as `K=V`. */
  env: string[];
  /** More variables, which are kept off the disk. */
  secretEnv?: string[];
  network: ExecSpec['network'];
  security: ExecSpec['security'];
  machine?: string;
  resources?: ExecSpec['resources'];
  devices?: ExecSpec['devices'];
}

let lastId = 0;

/**
 * The spec of a process. `kind` begins the name of its container: `exec`, `gateway`, `frontend`.
 *
 *     execSpec('exec', meta, { root, mounts, env: ['PATH=/bin'], network: 'default', security: 'sandbox' })
 */
export function execSpec(kind: string, meta: ProcessMeta, place: ProcessPlace): ExecSpec {
  return {
    ...place,
    id: `${kind}-${process.pid}-${++lastId}`,
    args: meta.args,
    cwd: meta.cwd || '/',
    user: meta.user ?? '',
    hostname: meta.hostname ?? '',
    removeStubParents: meta.removeMountStubsRecursive ?? true,
    extraHosts: (meta.extraHosts ?? []).map(({ Host, IP }) => ({ host: Host, ip: IP })),
    ulimits: ulimitsOf(meta.ulimit ?? []),
    shmSize: 0,
    cgroupParent: meta.cgroupParent ?? '',
  };
}

/** The secrets that a process has in its environment, as `K=V`. Throws `not-found` for one that it must have. */
export async function secretEnvironment(
  secrets: readonly Pick<SecretEnv, 'ID' | 'name' | 'optional'>[],
  ctx: WorkContext,
): Promise<string[]> {
  const env: string[] = [];
  for (const { ID, name, optional } of secrets) {
    const value = await findSecret(ctx, ID, optional);
    if (value !== undefined) env.push(`${name}=${value.toString('utf8')}`);
  }
  return env;
}
