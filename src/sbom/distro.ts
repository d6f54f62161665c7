/** The operating system of a tree. https://www.freedesktop.org/software/systemd/man/latest/os-release.html */
import { type FsView, readFileIn } from '../fs/index.ts';
import type { Distro } from './types.ts';

/** Reads the tree's os-release; empty texts when it has none, or none that can be read. */
export function distroOf(view: FsView): Distro {
  const text = textAt(view, '/etc/os-release') ?? textAt(view, '/usr/lib/os-release') ?? '';
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^([A-Z_]+)=(.*)$/.exec(line.trim());
    if (match !== null) values.set(match[1] as string, unquoted(match[2] as string));
  }
  const id = (values.get('ID') ?? '').replaceAll(/[^a-z0-9._-]/g, '');
  const name = values.get('PRETTY_NAME') ?? values.get('NAME') ?? id;
  return { id, version: values.get('VERSION_ID') ?? '', name };
}

function textAt(view: FsView, path: string): string | undefined {
  try {
    return readFileIn(view, path, 64 << 10)?.toString('utf8');
  } catch {
    return undefined;
  }
}

function unquoted(value: string): string {
  const match = /^(['"])(.*)\1$/.exec(value);
  return match === null ? value : (match[2] as string).replaceAll(/\\(.)/g, '$1');
}
