/** `--build-context NAME=VALUE`: trees and images that take the place of stages and base images. */
import { DrydockError, fail, prefixed } from '../../../errors/index.ts';
import { readIgnore } from '../../../fs/index.ts';
import { http, image, lazy, ociLayout, type State, scratch } from '../../../llb/index.ts';
import {
  familiarName,
  formatPlatform,
  type ImageConfig,
  normalizeName,
  type Platform,
  resolveModeOf,
} from '../../../oci/index.ts';
import { isHttpUrl } from '../../../words/index.ts';
import type { DockerfileRequest, FrontendHost, ResolvedImage } from '../../types.ts';
import { own } from './args.ts';
import { clientFolder } from './client-folder.ts';
import { loadDockerignore } from './context.ts';
import { gitState, parseGitRef } from './git-ref.ts';

export interface LoadedContext {
  state: State;
  /** The file in the tree that is the context, when the context is one file. */
  file?: string;
  /** The config, when the context is an image. */
  config?: ImageConfig;
  ref?: string;
}

export interface NamedContext {
  /** Loads the context. `followPaths` is called when the graph is marshalled; undefined: everything is needed. */
  load(followPaths: () => readonly string[] | undefined): Promise<LoadedContext>;
}

/** The name by which contexts are looked up: `docker.io/library/alpine:latest` and `alpine` have the same. */
function keyOf(name: string): string | undefined {
  try {
    return familiarName(normalizeName(name.toLowerCase())).replace(/:latest$/, '');
  } catch {
    return undefined;
  }
}

interface WrittenContext {
  /** The name in the request, with `::PLATFORM` or without. */
  written: string;
  base: string;
  platform: string | undefined;
  value: string;
}

const byKeys = new WeakMap<
  DockerfileRequest['namedContexts'],
  ReadonlyMap<string, readonly WrittenContext[]>
>();

/** The contexts of a request, by the names by which they are looked up. */
function byKey(contexts: DockerfileRequest['namedContexts']): ReadonlyMap<string, readonly WrittenContext[]> {
  let found = byKeys.get(contexts);
  if (found === undefined) {
    const all = Object.entries(contexts).flatMap(([written, value]) => {
      const [base = '', platform] = written.split('::');
      const key = keyOf(base);
      return key === undefined ? [] : [{ key, written, base, platform, value }];
    });
    found = Map.groupBy(all, ({ key }) => key);
    byKeys.set(contexts, found);
  }
  return found;
}

/**
 * The context of this name for this platform; undefined when there is none. `scratch` and `context` are never replaced.
 *
 *     findNamedContext(request, host, 'alpine:3', platform) // with --build-context alpine:3=…
 */
export function findNamedContext(
  request: DockerfileRequest,
  host: FrontendHost,
  name: string,
  platform: Platform,
): NamedContext | undefined {
  const lower = name.toLowerCase();
  if (lower === 'scratch' || lower === 'context') return undefined;
  const contexts = request.namedContexts;
  const all = byKey(contexts);
  const key = all.size === 0 ? undefined : keyOf(name);
  if (key === undefined) return undefined;
  for (const { written, base, platform: only, value } of all.get(key) ?? []) {
    if (only !== undefined && only !== formatPlatform(platform)) continue;
    const exact = own(contexts, `${base}::${formatPlatform(platform)}`);
    const label = exact === undefined ? written : `${base}::${formatPlatform(platform)}`;
    return {
      load: (followPaths) =>
        loadContext(request, host, { key, label, value: exact ?? value, platform, followPaths }).catch(
          (err) => {
            throw prefixed(err, `named context ${label}`);
          },
        ),
    };
  }
  return undefined;
}

interface Load {
  key: string;
  label: string;
  value: string;
  platform: Platform;
  followPaths: () => readonly string[] | undefined;
}

async function loadContext(
  request: DockerfileRequest,
  host: FrontendHost,
  load: Load,
): Promise<LoadedContext> {
  const { value, label, platform } = load;
  const git = parseGitRef(value);
  if (git !== undefined)
    return { state: gitState(git, { name: `[context ${label}] load git source ${value}` }) };
  if (value.startsWith('docker-image:')) return loadImage(request, host, load);
  if (value.startsWith('oci-layout:')) return loadLayout(request, host, load);
  if (value.startsWith('local:')) {
    return { state: await loadLocal(request, host, value.slice('local:'.length), load) };
  }
  if (value.startsWith('input:')) return loadInput(request, value.slice('input:'.length), label);
  if (isHttpUrl(value)) {
    const file = 'context';
    return { state: http(value, { filename: file, name: `[context ${label}] ${value}`, platform }), file };
  }
  throw fail('invalid', 'context', `unsupported context source ${JSON.stringify(value)}`, {
    hint: 'Use a folder, a git or http(s) URL, docker-image://REF or oci-layout://STORE[:TAG|@sha256:DIGEST].',
  });
}

function loadInput(request: DockerfileRequest, name: string, label: string): LoadedContext {
  const inputs = request.inputs ?? {};
  const input = Object.hasOwn(inputs, name) ? inputs[name] : undefined;
  if (input === undefined) throw fail('invalid', 'context', `invalid input ${name} for ${label}`);
  const { state, config } = input;
  return { state: config === undefined ? state : state.withImageConfig(config), config };
}

async function loadImage(request: DockerfileRequest, host: FrontendHost, load: Load): Promise<LoadedContext> {
  const ref = load.value.replace(/^docker-image:(\/\/)?/, '');
  if (ref === 'scratch') return { state: scratch() };
  let resolved: ResolvedImage;
  try {
    resolved = await host.resolveImage(normalizeName(ref), {
      platform: load.platform,
      pull: request.pull,
      logName: `[context ${load.label}] load metadata for ${normalizeName(ref)}`,
    });
  } catch (err) {
    // A source policy may put something else in the image's place: a folder of the client, a repository.
    const updated = err instanceof DrydockError ? err.details?.updated : undefined;
    if (typeof updated !== 'string') throw err;
    return loadContext(request, host, { ...load, value: updated.replace(/^local:\/\//, 'local:') });
  }
  const state = image(resolved.ref, {
    name: `[context ${load.label}] ${resolved.ref}`,
    platform: load.platform,
    resolveMode: resolveModeOf(request.pull),
  });
  return { state: state.withImageConfig(resolved.config), config: resolved.config, ref: resolved.ref };
}

async function loadLayout(
  request: DockerfileRequest,
  host: FrontendHost,
  load: Load,
): Promise<LoadedContext> {
  const spec = load.value.replace(/^oci-layout:(\/\/)?/, '');
  const match = /^(.+?)(:[\w][\w.-]*)?(?:@(sha256:[0-9a-f]{64}))?$/.exec(spec);
  if (match === null)
    throw fail('invalid', 'context', `invalid oci-layout reference ${JSON.stringify(spec)}`);
  const [, store = '', tag = ':latest', digest] = match;
  const name = normalizeName(load.key).replace(/:[^/:@]*$/, '');
  const wanted = digest === undefined ? `${name}${tag}` : `${name}@${digest}`;
  const resolved = await host.resolveImage(wanted, {
    platform: load.platform,
    pull: request.pull,
    logName: `[context ${load.label}] load metadata for ${wanted}`,
    ociLayoutStore: store,
  });
  // A tag may move, a digest does not.
  const ref = `${name}@${digest ?? resolved.digest}`;
  const state = ociLayout(ref, {
    store,
    name: `[context ${load.label}] OCI load from client`,
    platform: load.platform,
  });
  return { state: state.withImageConfig(resolved.config), config: resolved.config, ref };
}

async function loadLocal(
  request: DockerfileRequest,
  host: FrontendHost,
  name: string,
  load: Load,
): Promise<State> {
  const text = await loadDockerignore(
    request,
    host,
    name,
    `[context ${load.label}] load .dockerignore`,
    `context:${load.label}-.dockerignore`,
  );
  const excludes = readIgnore(text);
  return lazy(() =>
    clientFolder(request, name, {
      name: `[context ${load.label}] load from client`,
      sharedKeyHint: `context:${load.label}`,
      excludes,
      followPaths: load.followPaths(),
    }),
  );
}
