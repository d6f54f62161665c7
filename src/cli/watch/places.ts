/** The folders of this machine that a build reads, and what counts in them. */
import { readFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { readIgnore } from '../../fs/index.ts';
import { isRemoteUrl } from '../../words/index.ts';
import type { BuildFlags } from '../build/prepare.ts';
import { splitCsv } from '../csv.ts';

/** A folder to watch. */
interface WatchedPlace {
  dir: string;
  /** Patterns of what does not count. */
  ignore: string[];
}

/**
 * The places to watch for a build: its context without what `.dockerignore` leaves out and without the build's own
 * outputs, its named contexts, and the Dockerfile and ignore file, wherever they are.
 */
export function watchedPlaces(flags: BuildFlags, context: string): WatchedPlace[] {
  const dir = resolve(context);
  const dockerfile = resolve(flags.file ?? join(context, 'Dockerfile'));
  const own = `${dockerfile}.dockerignore`;
  const outputs = outputPaths(flags);
  const places = [{ dir, ignore: [...(ignoredBy(own) ?? ignoredBy(join(dir, '.dockerignore')) ?? [])] }];
  for (const item of flags['build-context']) {
    const folder = item.slice(item.indexOf('=') + 1);
    if (folder === '' || /^(?:docker-image|oci-layout|target):/.test(folder) || isRemoteUrl(folder)) continue;
    places.push({ dir: resolve(folder), ignore: ignoredBy(join(folder, '.dockerignore')) ?? [] });
  }
  const files = [dockerfile, own, join(dir, '.dockerignore')];
  for (const place of places) {
    const inside = files.flatMap((file) => within(place.dir, file) ?? []);
    for (const path of outputs) {
      const inside = within(place.dir, path);
      // It is written as a part beside it first.
      if (inside !== undefined)
        place.ignore.push(inside, join(dirname(inside), `.${basename(inside)}.*.part`));
    }
    // They count although they may be left out of the context.
    place.ignore.push(...inside.map((path) => `!${path}`));
  }
  const outside = files.filter((file) => places.every((place) => within(place.dir, file) === undefined));
  const folders = [...new Set(outside.map((file) => dirname(file)))];
  for (const folder of folders) {
    const names = outside.filter((file) => dirname(file) === folder).map((file) => `!${basename(file)}`);
    places.push({ dir: folder, ignore: ['*', ...names] });
  }
  return places;
}

function ignoredBy(file: string): string[] | undefined {
  try {
    return readIgnore(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The path of a file inside of a folder, as a pattern; undefined: it is not in there. */
function within(dir: string, path: string): string | undefined {
  const inside = relative(dir, path);
  if (inside === '' || inside === '..' || inside.startsWith('../') || isAbsolute(inside)) return undefined;
  return inside.replace(/[\\*?[\]]/g, '\\$&');
}

/** What the build itself writes. */
function outputPaths(flags: BuildFlags): string[] {
  const outputs = flags.output.flatMap((text) => {
    if (!text.includes('=')) return text === '-' ? [] : [text];
    return splitCsv(text).flatMap((field) => (/^dest=/.test(field) ? [field.slice('dest='.length)] : []));
  });
  const files = [flags.iidfile, flags['metadata-file'], ...caches(flags)].filter(
    (path) => path !== undefined,
  );
  return [...outputs, ...files].map((path) => resolve(path));
}

function caches(flags: BuildFlags): string[] {
  return flags['cache-to'].flatMap((text) =>
    splitCsv(text).flatMap((field) => (/^dest=/.test(field) ? [field.slice('dest='.length)] : [])),
  );
}
