/** Images and cache at a daemon, over docker's API, in the shapes that the commands print. */
import type { ImageSummary } from '../../images/index.ts';
import { type Digest, type Platform, parseReference, type RegistryCredentials } from '../../oci/index.ts';
import type { ReportStatus } from '../../progress/index.ts';
import { dockerConfigCredentials } from '../../session/index.ts';
import type { UsageRecord } from '../../upkeep/index.ts';
import type { Filters } from '../../words/index.ts';
import { askJson, askLines, type Endpoint } from './endpoint.ts';

/** The parts of every call here. */
export interface RemoteCall {
  endpoint: Endpoint;
  signal: AbortSignal;
  env: NodeJS.ProcessEnv;
}

interface ListedJson {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Created: number;
  Size: number;
  Labels: Record<string, string> | null;
  /** What the names point to; daemons of API 1.48 on tell it. */
  Descriptor?: { digest: Digest };
}

/** Lists the daemon's images that fit docker's filters, as `listImages` does. */
export async function remoteImages(
  { endpoint, signal }: RemoteCall,
  filters: Filters,
): Promise<ImageSummary[]> {
  const query = { filters: filtersJson(filters) };
  const listed = await askJson<ListedJson[]>(endpoint, {
    method: 'GET',
    path: '/images/json',
    query,
    signal,
  });
  return listed.map(({ Id, RepoTags, RepoDigests, Created, Size, Labels, Descriptor }) => {
    const names = (RepoTags ?? []).filter((name) => !name.startsWith('<none>'));
    const digests = (RepoDigests ?? []).filter((name) => !name.startsWith('<none>'));
    return {
      id: Id as Digest,
      names,
      digests,
      target: Descriptor?.digest ?? ((digests[0]?.split('@')[1] ?? Id) as Digest),
      size: Size,
      created: Created > 0 ? Created * 1000 : undefined,
      platforms: [],
      dangling: names.length === 0,
      labels: Labels ?? {},
    };
  });
}

/** Filters as docker's API has them; undefined for none. */
function filtersJson(filters: Filters): string | undefined {
  return filters.size === 0 ? undefined : JSON.stringify(Object.fromEntries(filters));
}

/** One image's details, as docker inspect prints them. `platform`: `linux/arm64`; default: the daemon's own. */
export function remoteInspect(
  { endpoint, signal }: RemoteCall,
  name: string,
  platform: string | undefined,
): Promise<object> {
  return askJson(endpoint, {
    method: 'GET',
    path: `/images/${pathOf(name)}/json`,
    query: { platform },
    signal,
  });
}

interface HistoryJson {
  Id: string;
  Created: number;
  CreatedBy: string;
  Size: number;
  Comment: string;
}

/** The steps that made an image, newest first. */
export async function remoteHistory(
  { endpoint, signal }: RemoteCall,
  name: string,
  platform: Platform | undefined,
): Promise<{ id: string; created: number | undefined; createdBy: string; size: number; comment: string }[]> {
  const query = { platform: platform === undefined ? undefined : JSON.stringify(platform) };
  const path = `/images/${pathOf(name)}/history`;
  const steps = await askJson<HistoryJson[]>(endpoint, { method: 'GET', path, query, signal });
  return steps.map(({ Id, Created, CreatedBy, Size, Comment }) => ({
    id: Id,
    created: Created > 0 ? Created * 1000 : undefined,
    createdBy: CreatedBy,
    size: Size,
    comment: Comment,
  }));
}

/** The statements about one image, in the form of docker's API. */
export function remoteStatements(
  { endpoint, signal }: RemoteCall,
  name: string,
  platform: string | undefined,
): Promise<object[]> {
  const query = { platform, statement: '1' };
  return askJson(endpoint, { method: 'GET', path: `/images/${pathOf(name)}/attestations`, query, signal });
}

/** Removes a name or an image at the daemon as `removeImage` does. */
export async function remoteRemove(
  { endpoint, signal }: RemoteCall,
  name: string,
  { force, platforms }: { force: boolean; platforms: readonly string[] },
): Promise<{ untagged: string[]; deleted: string[] }> {
  const query = { force: force ? '1' : undefined, platforms };
  const path = `/images/${pathOf(name)}`;
  const rows = await askJson<{ Untagged?: string; Deleted?: string }[]>(endpoint, {
    method: 'DELETE',
    path,
    query,
    signal,
  });
  return {
    untagged: rows.flatMap(({ Untagged }) => Untagged ?? []),
    deleted: rows.flatMap(({ Deleted }) => Deleted ?? []),
  };
}

/** Gives an image at the daemon one more name. */
export async function remoteTag(
  { endpoint, signal }: RemoteCall,
  source: string,
  name: string,
): Promise<void> {
  const { repo, tag } = split(name);
  const path = `/images/${pathOf(source)}/tag`;
  await askJson(endpoint, { method: 'POST', path, query: { repo, tag: tag || 'latest' }, signal });
}

interface TransferLine {
  status?: string;
  id?: string;
  progressDetail?: { current?: number; total?: number };
  aux?: { Tag?: string; Digest?: string; Size?: number };
}

/** Pulls. Returns the lines that docker's clients print at the end (`Digest: …`, `Status: …`). */
export async function remotePull(
  { endpoint, signal, env }: RemoteCall,
  name: string,
  { platform, all }: { platform?: string; all?: boolean },
  report: ReportStatus,
): Promise<string[]> {
  const { repo, tag, host } = split(name);
  const query = { fromImage: repo, tag: tag || 'latest', platform, allPlatforms: all ? '1' : undefined };
  const headers = await authFor(env, host);
  const closing: string[] = [];
  const lines = askLines<TransferLine>(endpoint, {
    method: 'POST',
    path: '/images/create',
    query,
    headers,
    signal,
  });
  for await (const line of lines) {
    if (/^(Digest|Status): /.test(line.status ?? '')) closing.push(line.status as string);
    else tell(line, report);
  }
  return closing;
}

/** Pushes. Returns the manifest's digest and size. */
export async function remotePush(
  { endpoint, signal, env }: RemoteCall,
  name: string,
  platform: string | undefined,
  report: ReportStatus,
): Promise<{ ref: string; digest: string; size: number }> {
  const { repo, tag, host } = split(name);
  const path = `/images/${pathOf(repo)}/push`;
  // docker's daemons want the header, be it of nobody.
  const headers = { 'x-registry-auth': 'e30=', ...(await authFor(env, host)) };
  let pushed = { digest: '', size: 0 };
  const query = { tag: tag || 'latest', platform };
  for await (const line of askLines<TransferLine>(endpoint, {
    method: 'POST',
    path,
    query,
    headers,
    signal,
  })) {
    const { aux } = line;
    if (aux?.Digest !== undefined) pushed = { digest: aux.Digest, size: aux.Size ?? 0 };
    else tell(line, report);
  }
  return { ref: `${repo}:${tag || 'latest'}`, ...pushed };
}

/** Loads a tar. Returns the daemon's words (`Loaded image: …`). */
export async function remoteLoad(
  { endpoint, signal }: RemoteCall,
  body: NodeJS.ReadableStream,
  platform: readonly string[] = [],
): Promise<string[]> {
  const headers = { 'content-type': 'application/x-tar' };
  const said: string[] = [];
  const request = {
    method: 'POST',
    path: '/images/load',
    headers,
    body,
    signal,
    query: { quiet: '1', platform },
  };
  for await (const { stream } of askLines<{ stream?: string }>(endpoint, request)) {
    if (stream?.startsWith('Loaded image')) said.push(stream.trimEnd());
  }
  return said;
}

interface CacheJson {
  ID: string;
  Type: UsageRecord['type'];
  Description?: string;
  InUse: boolean;
  Shared: boolean;
  Size: number;
  CreatedAt: string;
  LastUsedAt: string | null;
  UsageCount: number;
}

/** Lists the daemon's build cache as `diskUsage` does. */
export async function remoteUsage({ endpoint, signal }: RemoteCall): Promise<UsageRecord[]> {
  const request = { method: 'GET', path: '/system/df', query: { type: 'build-cache', verbose: '1' }, signal };
  // A daemon of before has no other form than the first one.
  const { BuildCache, BuildCacheUsage } = await askJson<{
    BuildCache?: CacheJson[] | null;
    BuildCacheUsage?: { Items?: CacheJson[] };
  }>(endpoint, request);
  return (BuildCacheUsage?.Items ?? BuildCache ?? []).map((record) => ({
    id: record.ID,
    type: record.Type,
    description: record.Description ?? '',
    size: record.Size,
    createdAt: Date.parse(record.CreatedAt),
    lastUsedAt: Date.parse(record.LastUsedAt ?? record.CreatedAt),
    usageCount: record.UsageCount,
    inUse: record.InUse,
    shared: record.Shared,
  }));
}

/** Prunes the build cache. Returns the ids of the removed records, and the number of bytes given back. */
export async function remotePrune(
  { endpoint, signal }: RemoteCall,
  options: { all?: boolean; keepBytes?: number; filters: Record<string, string[]> },
): Promise<{ ids: string[]; reclaimed: number }> {
  const query = {
    all: options.all ? '1' : undefined,
    'keep-storage': options.keepBytes === undefined ? undefined : String(options.keepBytes),
    filters: Object.keys(options.filters).length === 0 ? undefined : JSON.stringify(options.filters),
  };
  const request = { method: 'POST', path: '/build/prune', query, signal };
  const answer = await askJson<{ CachesDeleted: string[] | null; SpaceReclaimed: number }>(endpoint, request);
  return { ids: answer.CachesDeleted ?? [], reclaimed: answer.SpaceReclaimed };
}

/** Removes the daemon's images that fit docker's filters. `removed` are docker's lines about them. */
export async function remotePruneImages(
  { endpoint, signal }: RemoteCall,
  filters: Filters = new Map(),
): Promise<{ removed: { Untagged?: string; Deleted?: string }[]; reclaimed: number }> {
  const query = { filters: filtersJson(filters) };
  const answer = await askJson<{
    ImagesDeleted: { Untagged?: string; Deleted?: string }[] | null;
    SpaceReclaimed: number;
  }>(endpoint, { method: 'POST', path: '/images/prune', query, signal });
  return { removed: answer.ImagesDeleted ?? [], reclaimed: answer.SpaceReclaimed };
}

/** The path of a name. Its slashes are part of docker's paths; other special characters are escaped. */
function pathOf(name: string): string {
  return encodeURIComponent(name).replaceAll('%2F', '/').replaceAll('%3A', ':').replaceAll('%40', '@');
}

/** `repo`, and the tag or digest behind it. */
function split(name: string): { repo: string; tag: string; host: string } {
  const { domain: host } = parseReference(name);
  const at = name.indexOf('@');
  if (at > 0) return { repo: name.slice(0, at), tag: name.slice(at + 1), host };
  const colon = name.lastIndexOf(':');
  if (colon > name.lastIndexOf('/')) {
    return { repo: name.slice(0, colon), tag: name.slice(colon + 1), host };
  }
  return { repo: name, tag: '', host };
}

/** The user's account at a registry, for the daemon to use in this one request. */
async function authFor(env: NodeJS.ProcessEnv, host: string): Promise<Record<string, string>> {
  const hub = host === 'docker.io' || host === 'registry-1.docker.io';
  const key = hub ? 'https://index.docker.io/v1/' : host;
  const found: RegistryCredentials | undefined = await dockerConfigCredentials(env)(key);
  if (found === undefined) return {};
  const { username, password, identityToken, registryToken } = found;
  const config = {
    username,
    password,
    identitytoken: identityToken,
    registrytoken: registryToken,
    serveraddress: key,
  };
  return { 'x-registry-auth': Buffer.from(JSON.stringify(config)).toString('base64url') };
}

function tell({ id, status = '', progressDetail }: TransferLine, report: ReportStatus): void {
  if (id === undefined || !/^[0-9a-f]{12}$/.test(id)) return;
  const { current = 0, total = 0 } = progressDetail ?? {};
  const done = /complete|exists|Pushed|Mounted/i.test(status) && current === 0;
  report(id, { current, total, done });
}
