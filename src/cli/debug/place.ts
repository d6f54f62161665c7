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
  /** Where the trees lie that a COPY or ADD reads. */
  sources?: readonly string[];
}

/** The folder in which a COPY or ADD finds the trees that it reads. */
const sourceFolder = '/run/drydock/source';

/** The place of a failed step, by what it has left; undefined for a step that has left no tree in which something could run. */
export function failedPlace(step: SolveDetail): Place | undefined {
  const op = fromJson(OpSchema, step.op as JsonObject, { ignoreUnknownFields: true });
  if (op.op.case === 'exec') return execPlace(op, op.op.value, step);
  if (op.op.case !== 'file') return undefined;
  // Without a failed action it was the source that could not be read, and only the source is left.
  const at = step.file?.index;
  const id = at === undefined ? undefined : step.mountIDs?.[at];
  if (!id) return undefined;
  const read = op.op.value.actions.map(({ secondaryInput }) => step.inputIDs?.[Number(secondaryInput)] ?? '');
  return filePlace(op, id, [...new Set(read)]);
}

/** The place of a step that writes files into a tree, '' being the empty one, beside the trees that it reads. */
export function filePlace({ platform }: Op, root: string, read: readonly string[]): Place {
  const given = read.filter((id) => id !== '');
  const sources = given.map((_, i) => (given.length === 1 ? sourceFolder : `${sourceFolder}-${i + 1}`));
  const mounts = given.map((resultID, i) => ({ dest: sources[i] ?? '', resultID, readonly: true }));
  return {
    container: { Mounts: [{ dest: '/', resultID: root }, ...mounts], platform },
    process: {},
    meta: { env: [], cwd: '/' },
    sources,
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

/** Says where a step's sources are; '' for a step without any. */
export function sourcesText({ sources = [] }: Place): string {
  return sources.length === 0 ? '' : `The files that it reads are in ${sources.join(' and ')}.\n`;
}
