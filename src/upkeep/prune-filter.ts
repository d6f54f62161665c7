/**
 * The filters of `prune` as people and docker's API write them: `type=regular`, `description~=apt`, `image!=app`,
 * `inuse`. Pure.
 */
import type { RecordType } from '../cache/index.ts';
import { fail } from '../errors/index.ts';
import { normalizeName } from '../oci/index.ts';
import { fitsWildcards, readFilters } from '../patterns/index.ts';
import { daysAndWeeks, durationMs, parseBool, readTime } from '../words/index.ts';
import type { PruneOptions, UsageRecord } from './disk-usage.ts';
import { fieldsOf } from './prune-rule.ts';

/** All kinds of records. */
const recordTypes: readonly RecordType[] = [
  'regular',
  'source.local',
  'source.git.checkout',
  'exec.cachemount',
  'frontend',
  'internal',
];

const flags = ['inuse', 'shared', 'private', 'mutable', 'immutable'];
/** The names of filters, but for those of ages. */
export const pruneFilters: readonly string[] = [
  ...['id', 'parent', 'parents', 'type', 'description', 'image', 'project', 'mount'],
  ...flags,
];

/** The names of ages. */
const ages = ['until', 'unused-for'];

type Fits = (record: UsageRecord) => boolean;

/** Takes filters apart that are written as `KEY=VALUE`, `KEY!=VALUE`, `KEY~=PATTERN` or `KEY`. */
export function splitPruneFilters(texts: readonly string[]): Map<string, string[]> {
  const filters = new Map<string, string[]>();
  for (const text of texts) {
    const at = text.indexOf('=');
    const [key, value] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
    filters.set(key, [...(filters.get(key) ?? []), value]);
  }
  return filters;
}

/** What filters choose: an age, given once as a duration or a time, and the records that fit the others. Throws `invalid`. */
export function readPruneChoice(
  filters: ReadonlyMap<string, readonly string[]>,
): Pick<PruneOptions, 'unusedFor' | 'fits'> {
  const given = ages.flatMap((name) => filters.get(name)?.map((value) => ({ name, value })) ?? []);
  const [age, ...more] = given;
  if (more.length > 0) throw fail('invalid', 'client', "filters: give one of 'until' and 'unused-for', once");
  return {
    unusedFor: age && ageOf(age),
    fits: readPruneFilters(new Map([...filters].filter(([name]) => !ages.includes(name)))),
  };
}

/** An age in ms, of a duration (`24h`, `2d`) or a time. */
function ageOf({ name, value }: { name: string; value: string }): number {
  return Math.max(0, durationMs(value, daysAndWeeks) ?? Date.now() - readTime(value, name));
}

/**
 * Reads filters: of each name the values that may stand there. A record fits when it fits one value of each name; behind
 * a name `!` means that it must fit none of them, `~` that a regular expression must be found in the text. Throws
 * `invalid` for an unknown name or an impossible value.
 *
 *     readPruneFilters(new Map([['type', ['regular']], ['image!', ['app:*']]]))
 */
export function readPruneFilters(filters: ReadonlyMap<string, readonly string[]>): Fits | undefined {
  const all = [...filters].map(([key, values]): Fits => {
    const [, name = '', mark = ''] = /^(.*?)([!~]?)$/s.exec(key) ?? [];
    if (!pruneFilters.includes(name)) {
      throw fail('invalid', 'client', `invalid filter '${key}'`, {
        hint: `Filters are: until, ${pruneFilters.join(', ')}.`,
      });
    }
    if (mark === '~') {
      const quoted = values.map((value) => `${name}~="${value.replace(/[\\"]/g, '\\$&')}"`);
      const fits = readFilters(quoted);
      return (record) => fits(fieldsOf(record));
    }
    const fits = values.map((value) => fitOf(name, value));
    return mark === '!'
      ? (record) => !fits.some((each) => each(record))
      : (record) => fits.some((each) => each(record));
  });
  return all.length === 0 ? undefined : (record) => all.every((fits) => fits(record));
}

function fitOf(name: string, value: string): Fits {
  if (flags.includes(name)) {
    const wanted = value === '' ? true : parseBool(value);
    if (wanted === undefined) throw fail('invalid', 'client', `invalid filter '${name}=${value}'`);
    return (record) => fieldsOf(record)[name] === wanted;
  }
  switch (name) {
    case 'id':
      return ({ id }) => id === value || id.startsWith(`sha256:${value}`) || id.startsWith(value);
    case 'type':
      if (!(recordTypes as readonly string[]).includes(value)) {
        throw fail('invalid', 'client', `unknown record type ${value}`, {
          hint: `Types: ${recordTypes.join(', ')}.`,
        });
      }
      return ({ type }) => type === value;
    case 'description':
      return ({ description }) => description.includes(value);
    case 'image': {
      const pattern = value.includes('*') ? value : normalizeName(value);
      return ({ images = [] }) =>
        images.some((image) => namesOf(image).some((each) => fitsWildcards(pattern, each)));
    }
    case 'project': {
      const pattern = value.length > 1 ? value.replace(/\/+$/, '') : value;
      return ({ project }) => project !== undefined && fitsWildcards(pattern, project);
    }
    case 'mount':
      // A Dockerfile's `id=npm` is /npm for the builder.
      return ({ mount }) =>
        mount !== undefined && (fitsWildcards(value, mount) || fitsWildcards(`/${value}`, mount));
    default:
      // Records do not tell their parents; none has the one asked for.
      return () => false;
  }
}

/** A full name, and the name as people write it. */
function namesOf(image: string): string[] {
  return [image, image.replace(/^docker\.io\/(library\/)?/, '')];
}
