/** From what LLB says of a process to what the executor runs: of steps, of frontends and of frontends' containers. */
import type { ExecSpec } from '../../executor/index.ts';
import { ulimitsOf } from '../../llb/index.ts';
import type { Meta, SecretEnv } from '../../pb/solver/pb/ops_pb.js';
import type { WorkContext } from '../../solver/index.ts';
import { findSecret, type PreparedMounts } from './mounts.ts';

/** What the wire says of a process; all but what it runs may be left out. */
type ProcessMeta = Pick<Meta, 'args' | 'cwd'> &
  Partial<
    Pick<Meta, 'user' | 'hostname' | 'extraHosts' | 'ulimit' | 'cgroupParent' | 'removeMountStubsRecursive'>
  >;

/** What the wire does not say, or says elsewhere. */
interface ProcessPlace {
  root: NonNullable<PreparedMounts['root']>;
  mounts: ExecSpec['mounts'];
  /** `K=V`, complete. */
  env: string[];
  /** More of it, which is kept off the disk. */
  secretEnv?: string[];
  network: ExecSpec['network'];
  security: ExecSpec['security'];
  resources?: ExecSpec['resources'];
}

let lastId = 0;

/** `kind` begins the name of the container: `exec`, `gateway`, `frontend`. */
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

/** The values of secrets that a process has in its environment. Throws `not-found` for one that it must have. */
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
