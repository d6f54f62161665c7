/** The request of a build as its provenance tells it. Pure. */
import { maskUrls } from '../errors/index.ts';
import type { UsedSource } from '../solver/index.ts';
import { gitRemote, isRemoteUrl } from '../words/index.ts';
import { materialOf } from './materials.ts';
import type { AskedFacts, BuildFacts, Needed, ProvenanceOptions } from './types.ts';

/** Options that are about the machine or the client's session, and not about what is built. */
const ofHost = ['cgroup-parent', 'image-resolve-mode', 'platform', 'cache-imports', 'cache-from'];
/** The beginnings of such options. A request for attestations is no part of a statement either. */
const ofHostPrefixes = ['attest:', 'local-sessionid:'];
/** The beginnings of options that `min` leaves out, and of those whose values it hides: whole configs of images. */
const valuesPrefixes = ['build-arg:', 'label:'];
const hiddenPrefix = 'input-metadata:';

export interface RequestFacts {
  configSource: { uri?: string; digest?: Record<string, string>; path?: string };
  request: {
    frontend?: string;
    args?: Record<string, string>;
    secrets?: NeededJson[];
    ssh?: NeededJson[];
    locals?: { name: string }[];
    /** The requests for the trees that were handed to the frontend. */
    inputs?: Record<string, AskedJson>;
    /** The request that began the build, where it is another one. */
    root?: AskedJson;
  };
  /** The client's words about the repository of its folder. */
  vcs: Record<string, string>;
  /** Tells whether nothing of the request is left out. */
  isComplete: boolean;
}

/** A request with where its context came from. */
interface AskedJson {
  configSource: RequestFacts['configSource'];
  request: { frontend?: string; args?: Record<string, string>; inputs?: Record<string, AskedJson> };
}

interface NeededJson {
  id: string;
  optional?: true;
}

/** Describes a request; in `min` without build arguments and labels, and without the names of secrets and agents. */
export function requestOf(facts: BuildFacts, mode: ProvenanceOptions['mode']): RequestFacts {
  const { frontend, secrets, ssh, sources } = facts;
  const { vcs } = sorted(facts.options);
  const own = askedJson(facts, facts, mode);
  // Compared whole, so that what `min` leaves out makes no two requests equal.
  const root = facts.root && isOther(facts, facts.root) ? askedJson(facts.root, facts, mode) : undefined;
  let isComplete = frontend !== '' && own.isComplete && (root?.isComplete ?? true);
  if (mode === 'min' && secrets.length + ssh.length > 0) isComplete = false;
  const read = sources.flatMap((used) => (used.kind === 'local' ? [used.name] : []));
  const locals = [...new Set([...read, ...facts.offered])].sort();
  const shown = <T>(list: readonly T[]): T[] | undefined => (list.length === 0 ? undefined : [...list]);
  const { frontend: name, args, inputs } = own.json.request;
  return {
    configSource: own.json.configSource,
    request: {
      frontend: name,
      args,
      secrets: mode === 'min' ? undefined : shown(neededJson(secrets)),
      ssh: mode === 'min' ? undefined : shown(neededJson(ssh)),
      locals: shown(locals.map((local) => ({ name: local }))),
      inputs,
      root: root?.json,
    },
    vcs,
    isComplete,
  };
}

/** Describes one request and those before it; `isComplete` tells whether nothing of them is left out. */
function askedJson(
  { frontend, options, inputs = {} }: AskedFacts,
  facts: BuildFacts,
  mode: ProvenanceOptions['mode'],
): { json: AskedJson; isComplete: boolean } {
  const { context, filename, args } = sorted(options);
  let isComplete = true;
  const kept: [string, string][] = [];
  for (const [name, value] of args) {
    const isHidden = mode === 'min' && name.startsWith(hiddenPrefix);
    const isLeftOut = mode === 'min' && valuesPrefixes.some((prefix) => name.startsWith(prefix));
    if (isHidden || isLeftOut) isComplete = false;
    if (!isLeftOut) kept.push([name, isHidden ? 'xxxxx' : maskUrls(value)]);
  }
  const producers = Object.entries(inputs).map(([name, asked]) => {
    const made = askedJson(asked, facts, mode);
    isComplete &&= made.isComplete;
    return [name, made.json] as const;
  });
  const json = {
    configSource: { ...configSource(context, facts), path: filename },
    request: {
      frontend: frontend || undefined,
      args: kept.length === 0 ? undefined : Object.fromEntries(kept),
      inputs: producers.length === 0 ? undefined : Object.fromEntries(producers),
    },
  };
  return { json, isComplete };
}

/** Whether a build began with another request than a result's own, and one that says anything. */
function isOther(own: AskedFacts, root: AskedFacts): boolean {
  const told = ({ frontend, options }: AskedFacts) => {
    const { context, filename, args } = sorted(options);
    return JSON.stringify([frontend, context ?? '', filename ?? '', args]);
  };
  return told(root) !== told({ frontend: '', options: {} }) && told(root) !== told(own);
}

/** Sorts the options into the context, the Dockerfile's name, the words about the repository, and the arguments. */
function sorted(options: BuildFacts['options']) {
  const contextKey = options.contextkey || 'context';
  const vcs: Record<string, string> = {};
  const args: [string, string][] = [];
  for (const [name, value] of Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (ofHost.includes(name) || ofHostPrefixes.some((prefix) => name.startsWith(prefix))) continue;
    if ((name === contextKey || name === 'filename') && value !== '') continue;
    if (!name.startsWith('vcs:')) args.push([name, value]);
    else if (value !== '') vcs[name.slice('vcs:'.length)] = maskUrls(value);
  }
  return { context: options[contextKey], filename: options.filename || undefined, vcs, args };
}

/** Describes a remote context, with its commit or digest where a source is known to be it. An upload has no URL. */
function configSource(
  context: string | undefined,
  { sources, isResolved }: BuildFacts,
): RequestFacts['configSource'] {
  if (!context || /^https?:\/\/buildkit-session\//.test(context)) return {};
  const uri = maskUrls(context);
  if (!isRemoteUrl(context)) return { uri };
  const file = sources.find((used) => used.kind === 'http' && used.url === context);
  const used = file ?? repositoryIn(sources, context);
  const found = used && materialOf(used, isResolved);
  return found === undefined ? { uri } : { uri, digest: found.digest };
}

/** Finds the git source of a URL's repository; where there are several, the one at the URL's ref. */
function repositoryIn(sources: readonly UsedSource[], url: string): UsedSource | undefined {
  const wanted = placeOf(url);
  const candidates = sources.flatMap((used) => {
    const place = used.kind === 'git' ? placeOf(used.url) : undefined;
    return place !== undefined && place.repository === wanted?.repository ? [{ used, place }] : [];
  });
  const exact = candidates.find(({ place }) => place.ref === wanted?.ref);
  return (exact ?? (candidates.length === 1 ? candidates[0] : undefined))?.used;
}

function placeOf(url: string): { repository: string; ref: string } | undefined {
  try {
    const { host, path, fragment, query } = gitRemote(url);
    const ref = fragment.split(':', 1)[0] || query.get('ref') || query.get('tag') || query.get('branch');
    return { repository: `${host}/${path.replace(/^\/+/, '')}`, ref: ref ?? '' };
  } catch {
    return undefined;
  }
}

function neededJson(list: readonly Needed[]): NeededJson[] {
  const byId = new Map<string, boolean>();
  for (const { id, optional } of list) byId.set(id, optional && (byId.get(id) ?? true));
  return [...byId]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, optional]) => (optional ? { id, optional } : { id }));
}
