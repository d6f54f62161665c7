/** Reads the Dockerfile, .dockerignore and the files to copy from the build's context. */
import { posix } from 'node:path';
import { DrydockError, fail, nearest } from '../../../errors/index.ts';
import { readIgnore } from '../../../fs/index.ts';
import { nameOf as textOf } from '../../../linux/index.ts';
import {
  copy,
  definitionJson,
  http,
  type LocalOptions,
  marshal,
  type State,
  scratch,
  upload,
  uploadedAside,
} from '../../../llb/index.ts';
import { isHttpUrl, parseBool } from '../../../words/index.ts';
import type { DockerfileRequest, FrontendHost, FrontendTree } from '../../types.ts';
import { own } from './args.ts';
import { clientFolder } from './client-folder.ts';
import { gitState, parseGitRef } from './git-ref.ts';
import { firstOf, withoutIgnored } from './ignored-files.ts';
import type { RemoteSource } from './remote-source.ts';

/** The longest path, in bytes with the zero that ends it, as in Linux. */
const pathMax = 4096;

/** The largest Dockerfile or .dockerignore, in bytes. A larger downloaded file is taken for an archive. */
const maxText = 1024 * 1024;

/** The Dockerfile as it was read. */
export interface DockerfileText {
  filename: string;
  text: string;
  /** The LLB that gives the file, in JSON; undefined when its text came with the request. */
  definition?: object;
}

/** A build's context. */
export interface BuildContext {
  /** Throws `not-found` (hop `dockerfile`) with a hint of similar names. */
  dockerfile(): Promise<DockerfileText>;
  /** The place that a remote context came from, before it was unpacked; undefined for a client's folder. */
  origin?: RemoteSource;
  /** The patterns in `.dockerignore`; empty for contexts that are not a client's folder. */
  excludes(): Promise<string[]>;
  /** The files of the context. Only `followPaths` are needed; undefined: all. */
  files(excludes: readonly string[], followPaths: readonly string[] | undefined): State;
}

/** Opens the request's context. A remote context is fetched. */
export async function openContext(request: DockerfileRequest, host: FrontendHost): Promise<BuildContext> {
  const { context, dockerfile = '' } = request;
  // Before anything else: what becomes of its `..` takes time by the square of their number.
  if (dockerfile.length >= pathMax) {
    throw fail('invalid', 'dockerfile', `the Dockerfile's path has ${dockerfile.length} characters`, {
      hint: `A path has at most ${pathMax - 1}.`,
    });
  }
  if (request.classic && /^\.\.(\/|$)/.test(posix.normalize(dockerfile))) {
    throw fail('failed', 'dockerfile', `forbidden path outside the build context: ${dockerfile}`);
  }
  const ignore = new IgnoreFile(request);
  const override = dockerfileOverride(request, host, ignore);
  if (context.type === 'local') {
    host.offered?.(context.name);
    const dockerfile = override ?? (() => readLocalDockerfile(request, host, context.name, ignore));
    return {
      dockerfile,
      excludes: () => ignore.patterns(host, context.name),
      files: (excludes, followPaths) =>
        clientFolder(request, context.name, {
          name: '[internal] load build context',
          sharedKeyHint: context.name,
          excludes,
          followPaths,
        }),
    };
  }
  const { tree, files, filename, origin } = await openRemote(request, host);
  const { contextSubdir } = request;
  return {
    origin,
    dockerfile:
      override ??
      (() => readFrom(tree, filename ?? nameOf(request), () => tree.readdir('/'), request.classic)),
    excludes: async () => [],
    files: () => (contextSubdir === undefined ? files : scopedTo(files, contextSubdir)),
  };
}

function scopedTo(files: State, dir: string): State {
  return scratch().file(copy(files, dir, '/', { contentsOnly: true }), {
    name: `[internal] folder ${dir} of the build context`,
  });
}

function nameOf(request: DockerfileRequest): string {
  return posix.resolve('/', request.dockerfile || 'Dockerfile').slice(1) || 'Dockerfile';
}

/** A Dockerfile that does not come from the context. */
function dockerfileOverride(
  request: DockerfileRequest,
  host: FrontendHost,
  ignore: IgnoreFile,
): (() => Promise<DockerfileText>) | undefined {
  const text = request.dockerfileText;
  if (text !== undefined) return async () => ({ filename: nameOf(request), text });
  const { dockerfileState } = request;
  if (dockerfileState !== undefined) {
    return async () => {
      const definition = marshal(dockerfileState);
      const tree = await host.open(definition);
      const own = await tree.readFile(`/${nameOf(request)}.dockerignore`, maxText);
      if (own !== undefined) ignore.use(textOf(own));
      const read = await readFrom(tree, nameOf(request), () => tree.readdir('/'));
      return { ...read, definition: definitionJson(definition) };
    };
  }
  const name = request.dockerfileLocal;
  return name === undefined ? undefined : () => readLocalDockerfile(request, host, name, ignore);
}

/** Reads `Dockerfile` (also in lower case), and notes `<Dockerfile>.dockerignore` if it is there. */
async function readLocalDockerfile(
  request: DockerfileRequest,
  host: FrontendHost,
  localName: string,
  ignore: IgnoreFile,
): Promise<DockerfileText> {
  const filename = nameOf(request);
  const define = (more: LocalOptions, name: string) =>
    marshal(clientFolder(request, localName, { ...more, differ: 'none', name: `[internal] ${name}` }));
  const followPaths = [filename, `${filename}.dockerignore`];
  if (posix.basename(filename) === 'Dockerfile') followPaths.push(lowerCase(filename));
  const definition = define(
    { followPaths, sharedKeyHint: localName },
    `load build definition from ${filename}`,
  );
  const tree = await host.open(definition);
  const similar = async () => {
    const dir = posix.dirname(filename);
    const patterns = ['*[Dd]ockerfile*', '*[Cc]ontainerfile*', '*.[Dd]ockerfile'];
    const includes = patterns.map((pattern) => posix.join(dir, pattern));
    const names = { includes, sharedKeyHint: `${localName}-names` };
    const others = await host.open(define(names, 'look for similar file names'));
    return others.readdir(posix.join('/', dir));
  };
  const [dockerfile, own] = await Promise.all([
    readFrom(tree, filename, similar),
    tree.readFile(`/${filename}.dockerignore`, maxText),
  ]);
  if (own !== undefined) ignore.use(textOf(own));
  return { ...dockerfile, definition: definitionJson(definition) };
}

function lowerCase(filename: string): string {
  return posix.join(posix.dirname(filename), 'dockerfile');
}

async function readFrom(
  tree: FrontendTree,
  filename: string,
  siblings: () => Promise<{ name: string; type: string }[]>,
  classic = false,
): Promise<DockerfileText> {
  const names = posix.basename(filename) === 'Dockerfile' ? [filename, lowerCase(filename)] : [filename];
  for (const name of names) {
    const bytes = await tree.readFile(`/${name}`, maxText);
    if (bytes !== undefined) return { filename, text: decode(bytes, filename) };
  }
  const hint = await hintOf(filename, siblings);
  if (classic)
    throw fail('failed', 'dockerfile', `Cannot locate specified Dockerfile: ${filename}`, { hint });
  const message = `failed to read dockerfile: open ${filename}: no such file or directory`;
  throw fail('not-found', 'dockerfile', message, { hint });
}

async function hintOf(
  filename: string,
  siblings: () => Promise<{ name: string; type: string }[]>,
): Promise<string> {
  const dir = posix.dirname(filename);
  let entries: { name: string; type: string }[] = [];
  try {
    entries = await siblings();
  } catch (err) {
    // The hint is a courtesy: the folder may be missing. Only a canceled build goes through.
    if (err instanceof DrydockError && err.code === 'canceled') throw err;
  }
  const names = entries.filter((entry) => entry.type !== 'dir').map((entry) => entry.name);
  const near = nearest(posix.basename(filename), names);
  const likely = names.filter((name) => name === near || /docker|container/i.test(name)).slice(0, 5);
  const shown = likely.filter((name) => !name.endsWith('.dockerignore')).map((name) => posix.join(dir, name));
  if (shown.length === 0)
    return 'Name the Dockerfile with -f, or check that the build context is the folder you meant.';
  return `There is ${shown.join(', ')}: name it with -f ${shown[0]}.`;
}

function decode(bytes: Buffer, filename: string): string {
  const text = textOf(bytes).replace(/^\uFEFF/, '');
  if (text.includes('\0')) {
    throw fail('invalid', 'dockerfile', `${filename} is not a text file`, {
      hint: 'Name the Dockerfile with -f.',
    });
  }
  return text;
}

/** The `.dockerignore` in force: the Dockerfile's own, or else the context's. */
class IgnoreFile {
  readonly #request: DockerfileRequest;
  #text: string | undefined;
  #patterns: Promise<string[]> | undefined;

  constructor(request: DockerfileRequest) {
    this.#request = request;
  }

  use(text: string): void {
    this.#text = text;
  }

  patterns(host: FrontendHost, localName: string): Promise<string[]> {
    this.#patterns ??= this.#load(host, localName);
    return this.#patterns;
  }

  async #load(host: FrontendHost, localName: string): Promise<string[]> {
    this.#text ??= await loadDockerignore(
      this.#request,
      host,
      localName,
      '[internal] load .dockerignore',
      `${localName}-.dockerignore`,
    ).catch(emptyWithoutFolder);
    return readIgnore(this.#text);
  }
}

/** The text of the `.dockerignore` in a client's folder; empty when there is none. */
export async function loadDockerignore(
  request: DockerfileRequest,
  host: FrontendHost,
  localName: string,
  vertexName: string,
  sharedKeyHint: string,
): Promise<string> {
  const state = clientFolder(request, localName, {
    name: vertexName,
    followPaths: ['.dockerignore'],
    sharedKeyHint,
    differ: 'none',
  });
  const tree = await host.open(marshal(state));
  const bytes = await tree.readFile('/.dockerignore', maxText);
  return bytes === undefined ? '' : textOf(bytes);
}

/**
 * An empty text for a client that offers no context: there is nothing to ignore. An instruction that needs the context
 * fails when it asks for it.
 */
function emptyWithoutFolder(err: unknown): string {
  if (err instanceof DrydockError && err.code === 'not-found' && err.hop === 'context') return '';
  throw err;
}

interface RemoteContext {
  /** The tree to read the Dockerfile from. */
  tree: FrontendTree;
  files: State;
  origin: RemoteSource;
  /** The name of the Dockerfile in the tree, when it is not the requested one. */
  filename?: string;
}

async function openRemote(request: DockerfileRequest, host: FrontendHost): Promise<RemoteContext> {
  const { context } = request;
  if (context.type === 'upload') {
    const aside = request.classic ? ignorable(request) : undefined;
    const files = upload(context.id, {
      name: '[internal] load build context',
      aside,
      dockerfile: nameOf(request),
    });
    let tree = await host.open(marshal(files));
    if (aside !== undefined) tree = firstOf(await host.open(marshal(uploadedAside(files))), tree);
    return { tree, files, origin: { state: files } };
  }
  if (context.type === 'state') {
    const { state } = context;
    return { tree: await host.open(marshal(state)), files: state, origin: { state } };
  }
  if (context.type !== 'remote') throw fail('internal', 'context', 'a local context is not opened');
  const { url } = context;
  const ref = parseGitRef(url);
  if (ref !== undefined) {
    const keep = own(request.buildArgs, 'BUILDKIT_CONTEXT_KEEP_GIT_DIR');
    const files = gitState(ref, {
      name: `[internal] load git source ${url}`,
      keepGitDir: parseBool(keep ?? ''),
    });
    return { ...(await fetched(files, request, host)), origin: { state: files } };
  }
  if (!isHttpUrl(url)) {
    throw fail('invalid', 'context', `${JSON.stringify(url)} is neither a git repository nor an http(s) URL`);
  }
  const file = 'context';
  const download = http(url, { filename: file, name: '[internal] load remote build context' });
  const origin = { state: download, file };
  const tree = await host.open(marshal(download));
  if (await isArchive(tree, file)) {
    return { ...(await fetched(unpackedFile(download, file), request, host)), origin };
  }
  await checkBareDockerfile(tree, url);
  return { tree, files: scratch(), origin, filename: file };
}

/** The content of an archive that a web server gave. */
export function unpackedFile(download: State, file: string): State {
  return scratch().file(copy(download, `/${file}`, '/', { unpack: true }), {
    name: '[internal] unpack remote build context',
  });
}

/** The files that the client sends only for the builder, whether they belong to the context or not. */
function ignorable(request: DockerfileRequest): string[] {
  const name = nameOf(request);
  return posix.basename(name) === 'Dockerfile'
    ? ['.dockerignore', name, lowerCase(name)]
    : ['.dockerignore', name];
}

/** A fetched tree, and the context in it. */
async function fetched(
  files: State,
  request: DockerfileRequest,
  host: FrontendHost,
): Promise<Pick<RemoteContext, 'tree' | 'files'>> {
  const tree = await host.open(marshal(files));
  return {
    tree,
    files: request.classic ? await withoutIgnored(files, tree, ignorable(request)) : files,
  };
}

/** Throws, with the beginning of what the URL gave, when that is no Dockerfile either. */
async function checkBareDockerfile(tree: FrontendTree, url: string): Promise<void> {
  const bytes = (await tree.readFile('/context', maxText)) ?? Buffer.alloc(0);
  const start = bytes.toString('latin1', 0, 200).trimStart();
  let what: string | undefined;
  if (bytes.toString('latin1').trim() === '') what = 'is empty';
  else if (/^<(!doctype|html|head|body)\b/i.test(start)) what = 'is a web page';
  else if (bytes.includes(0)) what = 'is neither a tar archive nor a Dockerfile';
  if (what === undefined) return;
  throw fail('invalid', 'context', `the remote build context cannot be used: ${shownUrl(url)} ${what}`, {
    hint: 'Give the URL of a tar archive (plain, gzip, bzip2, xz or zstd), of a Dockerfile or of a git repository.',
  });
}

/** The URL without credentials and query. */
function shownUrl(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

/** Whether the downloaded file is a tar, compressed or not. */
export async function isArchive(tree: FrontendTree, file: string): Promise<boolean> {
  const stat = await tree.stat(`/${file}`);
  if (stat === undefined) throw fail('not-found', 'context', 'the remote build context is empty');
  if (stat.size > maxText) return true;
  const head = (await tree.readFile(`/${file}`, maxText)) ?? Buffer.alloc(0);
  const magics = ['425a68', '1f8b08', 'fd377a585a00', '28b52ffd'];
  if (magics.some((magic) => head.subarray(0, magic.length / 2).toString('hex') === magic)) return true;
  if (head.length < 512) return false;
  // A tar header's checksum: the sum of its bytes with the checksum's own field taken as spaces.
  const stated = Number.parseInt(head.toString('latin1', 148, 156).replaceAll('\0', ' ').trim(), 8);
  let sum = 8 * 0x20;
  for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += head[i] ?? 0;
  return sum === stated;
}
