/** The folders of this machine that a build reads, and what counts in them. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { readIgnore } from '../../fs/index.ts';
import { isRemoteUrl } from '../../words/index.ts';
import type { BuildFlags } from '../build/prepare.ts';
import { splitCsv } from '../csv.ts';

/** A folder to watch. */
export interface WatchedPlace {
  dir: string;
  /** Patterns of what does not count. */
  ignore: string[];
}

/**
 * The places to watch for a build: its context without what `.dockerignore` leaves out and without the build's own
 * outputs, its named contexts, and the Dockerfile and ignore file, wherever they are. `outputs`: what is written while it is
 * watched, where other builds write besides it.
 */
export function watchedPlaces(
  flags: BuildFlags,
  context: string,
  outputs = outputPaths(flags),
): WatchedPlace[] {
  const dir = resolve(context);
  const dockerfile = resolve(flags.file ?? join(context, 'Dockerfile'));
  const own = `${dockerfile}.dockerignore`;
  const places = [{ dir, ignore: [...(ignoredBy(own) ?? ignoredBy(join(dir, '.dockerignore')) ?? [])] }];
  for (const item of flags['build-context']) {
    const folder = item.slice(item.indexOf('=') + 1);
    if (folder === '' || /^(?:docker-image|oci-layout|target):/.test(folder) || isRemoteUrl(folder)) continue;
    places.push({ dir: resolve(folder), ignore: ignoredBy(join(folder, '.dockerignore')) ?? [] });
  }
  const files = [dockerfile, own, join(dir, '.dockerignore')];
  for (const place of places) {
    const inside = files.flatMap((file) => within(place.dir, file) ?? []);
    for (const path of outputs.map(firstMissing)) {
      const inside = within(place.dir, path);
      // It is written as a part beside it first.
      if (inside !== undefined)
        place.ignore.push(inside, join(dirname(inside), `.${basename(inside)}.*.part`));
    }
    // They count although they may be left out of the context.
    place.ignore.push(...inside.map((path) => `!${path}`));
  }
  const outside = files.filter((file) => places.every((place) => within(place.dir, file) === undefined));
  return [...places, ...filePlaces(outside)];
}

/** The places to watch for single files. */
export function filePlaces(files: readonly string[]): WatchedPlace[] {
  const byFolder = Map.groupBy(
    files.map((file) => resolve(file)),
    (file) => dirname(file),
  );
  return [...byFolder].map(([dir, inside]) => ({
    dir,
    ignore: ['*', ...inside.map((file) => `!${basename(file).replace(/[\\*?[\]]/g, '\\$&')}`)],
  }));
}

function ignoredBy(file: string): string[] | undefined {
  try {
    return readIgnore(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** The first folder above an output that is not there yet, since it is made with it; else the output. */
function firstMissing(path: string): string {
  const above = dirname(path);
  return above === path || existsSync(above) ? path : firstMissing(above);
}

/** The path of a file inside of a folder, as a pattern; undefined: it is not in there. */
function within(dir: string, path: string): string | undefined {
  const inside = relative(dir, path);
  if (inside === '' || inside === '..' || inside.startsWith('../') || isAbsolute(inside)) return undefined;
  return inside.replace(/[\\*?[\]]/g, '\\$&');
}

/** What the build itself writes. */
export function outputPaths(flags: BuildFlags): string[] {
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
