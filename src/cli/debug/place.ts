/** Where a process of a debugger runs: the container of a failed step, or of a result. Pure. */
import { fromJson, type JsonObject, type MessageInitShape } from '@bufbuild/protobuf';
import type { InspectedResult, SolveDetail } from '../../engine/index.ts';
import { hostPlatform, type ImageConfig } from '../../oci/index.ts';
import type {
  InitMessageSchema,
  NewContainerRequestSchema,
} from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { type ExecOp, type Op, OpSchema, type ProxyEnv } from '../../pb/solver/pb/ops_pb.js';

/** A container that can be made, and what a process in it is given. */
export interface Place {
  container: Omit<MessageInitShape<typeof NewContainerRequestSchema>, 'ContainerID' | '$typeName'> & {
    Mounts: { dest?: string; resultID?: string }[];
  };
  /** Everything but the arguments. */
  process: Pick<MessageInitShape<typeof InitMessageSchema>, 'Security' | 'secretenv'>;
  meta: Omit<NonNullable<MessageInitShape<typeof InitMessageSchema>['Meta']>, '$typeName'> & { cwd: string };
  /** The shell that the step itself was run by. */
  shell?: string;
}

/** The place of a failed step; undefined for a step that has no tree in which something could run. */
export function failedPlace(step: SolveDetail): Place | undefined {
  const op = fromJson(OpSchema, step.op as JsonObject, { ignoreUnknownFields: true });
  if (op.op.case === 'exec') return execPlace(op, op.op.value, step);
  if (op.op.case !== 'file') return undefined;
  const { actions } = op.op.value;
  const at = step.file?.index ?? 0;
  const input = Number(actions[at]?.input ?? -1);
  const id = step.file === undefined ? step.inputIDs?.[input] : step.mountIDs?.[at];
  if (!id) return undefined;
  return {
    container: { Mounts: [{ dest: '/', resultID: id }], platform: op.platform },
    process: {},
    meta: { env: [], cwd: '/' },
  };
}

function execPlace({ platform }: Op, exec: ExecOp, { mountIDs = [] }: SolveDetail): Place | undefined {
  const { meta } = exec;
  if (meta === undefined || mountIDs.length !== exec.mounts.length) return undefined;
  const { args, proxyEnv, extraHosts, hostname, $typeName: _, ...rest } = meta;
  const Mounts = exec.mounts.map((mount, i) => ({
    ...mount,
    dest: absolute(mount.dest, meta.cwd),
    resultID: mountIDs[i] ?? '',
  }));
  return {
    container: { Mounts, Network: exec.network, platform, extraHosts, hostname },
    process: { Security: exec.security, secretenv: exec.secretenv },
    meta: { ...rest, env: [...meta.env, ...proxies(proxyEnv)] },
    shell: args.length === 3 && args[1] === '-c' ? args[0] : undefined,
  };
}

/** A path as the step sees it. */
export function absolute(path: string, cwd: string): string {
  return path.startsWith('/') ? path : `${cwd.replace(/\/$/, '')}/${path}`;
}

/** The variables that a proxy is told by, in both cases, as programs look for either. */
function proxies(proxy: ProxyEnv | undefined): string[] {
  const { httpProxy = '', httpsProxy = '', ftpProxy = '', noProxy = '', allProxy = '' } = proxy ?? {};
  const named = { HTTP_PROXY: httpProxy, HTTPS_PROXY: httpsProxy, FTP_PROXY: ftpProxy };
  return Object.entries({ ...named, NO_PROXY: noProxy, ALL_PROXY: allProxy }).flatMap(([name, value]) =>
    value === '' ? [] : [`${name}=${value}`, `${name.toLowerCase()}=${value}`],
  );
}

/** The place of a result, with the image's environment, folder and user; undefined for a result without files. */
export function resultPlace({ refs, metadata }: InspectedResult): Place | undefined {
  const { os, architecture } = hostPlatform();
  const names = [...refs.keys()];
  const name = names.find((each) => each.startsWith(`${os}/${architecture}`)) ?? names[0];
  const id = name === undefined ? '' : refs.get(name);
  if (!id) return undefined;
  const bytes = metadata['containerimage.config'] ?? metadata[`containerimage.config/${name}`];
  const image = bytes && (JSON.parse(Buffer.from(bytes).toString('utf8')) as ImageConfig);
  const { Env, WorkingDir, User } = image?.config ?? {};
  const platform = image && { OS: image.os, Architecture: image.architecture, Variant: image.variant };
  return {
    container: { Mounts: [{ dest: '/', resultID: id }], platform },
    process: {},
    meta: { env: Env ?? [], cwd: WorkingDir || '/', user: User ?? '' },
  };
}
