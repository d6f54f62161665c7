/** Plants small trees on the disk and writes trees down as text, for comparing. */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { ApplyResult, FileActionSpec } from '../../src/fs/actions.ts';
import { apply } from '../../src/fs/apply.ts';
import { openView } from '../../src/fs/open.ts';
import type { FsEntry, FsView, ViewSpec } from '../../src/fs/view.ts';
import { mknod, S_IFCHR } from '../../src/linux/libc.ts';
import { withMounted } from '../kit/mounted.ts';

export const ctx = { aborted: () => false };

/** A file's text; `-> x` a symlink; null a folder; `whiteout`; or with owner and mode. */
export type Plan = Record<
  string,
  string | null | { text: string; mode?: number; uid?: number; gid?: number }
>;

export function plant(dir: string, plan: Plan): string {
  mkdirSync(dir, { recursive: true });
  for (const [path, what] of Object.entries(plan)) {
    const host = join(dir, path);
    mkdirSync(dirname(host), { recursive: true });
    if (what === null) mkdirSync(host, { recursive: true });
    else if (what === 'whiteout') mknod(host, S_IFCHR, 0);
    else if (typeof what === 'string') {
      if (what.startsWith('-> ')) symlinkSync(what.slice(3), host);
      else writeFileSync(host, what);
    } else {
      writeFileSync(host, what.text);
      chownSync(host, what.uid ?? 0, what.gid ?? 0);
      chmodSync(host, what.mode ?? 0o644);
    }
  }
  return dir;
}

/** A temporary folder that `using` removes. */
export function scratch(): { dir: string; path(...parts: string[]): string } & Disposable {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-fs-'));
  return {
    dir,
    path: (...parts) => join(dir, ...parts),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Every entry of a view but its root, one line each. */
export function lines(view: FsView, options: { times?: boolean } = {}): string[] {
  const out: string[] = [];
  const visit = (dir: string) => {
    for (const entry of view.readdir(dir)) {
      out.push(line(view, entry, options.times ?? false));
      if (entry.type === 'dir') visit(entry.path);
    }
  };
  visit('/');
  return out;
}

function line(view: FsView, entry: FsEntry, times: boolean): string {
  const parts = [entry.path, entry.type, entry.mode.toString(8), `${entry.uid}:${entry.gid}`];
  if (entry.type === 'file') parts.push(JSON.stringify(readFileSync(entry.hostPath, 'latin1').slice(0, 100)));
  if (entry.link !== undefined) parts.push(`-> ${entry.link}`);
  for (const [name, value] of view.xattrs(entry)) parts.push(`${name}=${value.toString('hex')}`);
  if (times) parts.push(String(entry.mtimeNs));
  return parts.join(' ');
}

/** Just the paths. */
export function paths(spec: ViewSpec): string[] {
  return lines(openView(spec)).map((text) => text.split(' ')[0]!);
}

export function layers(...dirs: string[]): Extract<ViewSpec, { kind: 'layers' }> {
  return { kind: 'layers', dirs };
}

/** What the kernel makes of layer folders (topmost first). */
export function kernelLines(dirs: string[], options: { times?: boolean } = {}): Promise<string[]> {
  const mount =
    dirs.length === 1
      ? { type: 'bind' as const, source: dirs[0]!, options: ['rbind', 'ro'] }
      : { type: 'overlay' as const, source: 'overlay', options: ['ro', `lowerdir=${dirs.join(':')}`] };
  return withMounted([mount], (at) => lines(openView(layers(at)), options));
}

/** Applies actions to a fresh layer on `lowers` and checks that the kernel sees what our view sees. */
export async function build(
  upper: string,
  lowers: string[],
  actions: FileActionSpec[],
): Promise<ApplyResult> {
  mkdirSync(upper, { recursive: true });
  return apply({ target: layers(upper, ...lowers), actions }, ctx);
}

export function copy(
  source: ViewSpec,
  src: string,
  dest: string,
  more: Partial<Extract<FileActionSpec, { kind: 'copy' }>> = {},
): FileActionSpec {
  return {
    kind: 'copy',
    source,
    src,
    dest,
    followSymlink: true,
    dirCopyContents: true,
    unpack: false,
    createDestPath: true,
    allowWildcard: true,
    allowEmptyWildcard: true,
    includes: [],
    excludes: [],
    alwaysReplaceExistingDestPaths: false,
    requiredPaths: [],
    ...more,
  };
}
