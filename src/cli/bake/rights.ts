/**
 * What a bake file may do on this machine: it may come from elsewhere, so that rights of steps, and paths outside of the
 * working folder, are granted by `--allow` alone.
 */
import { realpathSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { here, type PlannedTarget } from '../../bake/index.ts';
import { fail } from '../../errors/index.ts';
import { isRemoteUrl, parseBool } from '../../words/index.ts';

interface Rights {
  read: readonly string[];
  write: readonly string[];
  /** Words such as `network.host`, as they are. */
  words: ReadonlySet<string>;
}

/**
 * Throws `denied` when the targets need rights that `--allow` does not grant, with the flags that would. `trusted` are
 * the paths that the command line itself names.
 */
export function checkRights(
  targets: ReadonlyMap<string, PlannedTarget>,
  allow: readonly string[],
  trusted: { paths: readonly string[]; words: readonly string[] },
  env: NodeJS.ProcessEnv,
): void {
  const granted = readAllow(allow, trusted);
  const missing = new Set<string>();
  const looksAtFiles = parseBool(env.BUILDX_BAKE_ENTITLEMENTS_FS ?? '') !== false;
  for (const target of targets.values()) {
    for (const word of target.entitlements ?? []) if (!isGranted(word, granted)) missing.add(word);
    for (const { type, mode } of target.output ?? []) {
      if (type === 'local' && mode === 'delete' && !granted.words.has('buildx.local.delete'))
        missing.add('buildx.local.delete');
    }
    if (!looksAtFiles) continue;
    for (const path of readPaths(target))
      if (!isUnder(path, granted.read)) missing.add(`fs.read=${shown(path)}`);
    for (const path of writtenPaths(target))
      if (!isUnder(path, granted.write)) missing.add(`fs.write=${shown(path)}`);
    for (const { paths = [] } of target.ssh ?? [])
      if (paths.length === 0 && !granted.words.has('ssh')) missing.add('ssh');
  }
  if (missing.size === 0) return;
  const flags = [...missing].sort().map((right) => `--allow ${right}`);
  throw fail(
    'denied',
    'client',
    `the bake file asks for more than is granted: ${[...missing].sort().join(', ')}`,
    {
      hint: `If you trust it: ${flags.join(' ')}`,
    },
  );
}

function readAllow(
  allow: readonly string[],
  trusted: { paths: readonly string[]; words: readonly string[] },
): Rights {
  const read = [process.cwd(), ...trusted.paths];
  const write = [process.cwd(), ...trusted.paths];
  const words = new Set<string>(trusted.words);
  for (const right of allow) {
    const [key = '', value = ''] = split(right);
    if (key === 'fs' || key === 'fs.read') read.push(value);
    if (key === 'fs' || key === 'fs.write') write.push(value);
    if (key === 'fs' || key === 'fs.read' || key === 'fs.write') continue;
    if (
      ![
        'network.host',
        'security.insecure',
        'device',
        'ssh',
        'buildx.local.delete',
        'image',
        'image.push',
        'image.load',
      ].includes(key)
    ) {
      throw fail('invalid', 'client', `unknown entitlement key ${JSON.stringify(key)} in --allow ${right}`);
    }
    words.add(right);
  }
  return { read: read.map(real), write: write.map(real), words };
}

function split(right: string): [string, string] {
  const at = right.indexOf('=');
  return at < 0 ? [right, ''] : [right.slice(0, at), right.slice(at + 1)];
}

function isGranted(word: string, { words }: Rights): boolean {
  return words.has(word) || (word.startsWith('device') && words.has('device'));
}

function readPaths(target: PlannedTarget): string[] {
  const { context, contexts = {}, dockerfile } = target;
  const folders = [context, ...Object.values(contexts)].flatMap(localPath);
  const inline = target['dockerfile-inline'] !== undefined;
  const isHere = dockerfile.startsWith(here) || isAbsolute(dockerfile);
  const folder = isHere ? '.' : (localPath(context)[0] ?? '.');
  // The Dockerfile of a URL is there.
  const isThere = !isHere && isRemoteUrl(context);
  const file = inline || isThere ? [] : localPath(dockerfile).map((path) => resolve(folder, path));
  const caches = (target['cache-from'] ?? []).flatMap(({ type, src }) =>
    type === 'local' && src !== undefined ? [String(src)] : [],
  );
  const secrets = (target.secret ?? []).flatMap(({ src }) => (src === undefined ? [] : [String(src)]));
  return [
    ...folders,
    ...file,
    ...caches,
    ...secrets,
    ...(target.ssh ?? []).flatMap(({ paths = [] }) => paths),
  ];
}

function writtenPaths(target: PlannedTarget): string[] {
  const all = [
    ...(target.output ?? []),
    ...(target['cache-to'] ?? []).filter(({ type }) => type === 'local'),
  ];
  return all.flatMap(({ dest }) => (dest === undefined || dest === '-' ? [] : [String(dest)]));
}

function localPath(path: string): string[] {
  if (isRemoteUrl(path) || /^(?:target|docker-image):/.test(path)) return [];
  return [path.replace(/^(?:cwd|oci-layout):\/\//, '') || '.'];
}

/** The path without symlinks, of which as much as there is. `*` is the whole file system. */
function real(path: string): string {
  if (path === '*') return '/';
  const full = resolve(path);
  try {
    return realpathSync(full);
  } catch {
    return full === '/' ? full : resolve(real(dirname(full)), relative(dirname(full), full));
  }
}

function isUnder(path: string, folders: readonly string[]): boolean {
  const full = real(path);
  return folders.some((folder) => folder === '/' || full === folder || full.startsWith(`${folder}/`));
}

function shown(path: string): string {
  const near = relative(process.cwd(), real(path));
  return near.split('/').filter((part) => part === '..').length > 2 ? real(path) : near;
}
