/**
 * Filters over build records: containerd's syntax on `ref`, `status`, `repository` and a few more, and comparisons of
 * `startedAt`, `completedAt` (RFC 3339, or an age: `24h`) and `duration`. A record must fit one of several filters, and
 * all parts of that filter between its commas. Pure.
 */

import { timestampMs } from '@bufbuild/protobuf/wkt';
import { fail } from '../../../errors/index.ts';
import { checkFiltersLength, type Fields, readFilters } from '../../../patterns/index.ts';
import type { BuildHistoryRecord } from '../../../pb/moby/buildkit/v1/control_pb.js';
import { saysCanceled } from '../../../progress/index.ts';
import { csvFields, durationMs, isRemoteUrl, parseGitRemote } from '../../../words/index.ts';

export type RecordFilter = (record: BuildHistoryRecord) => boolean;

const timed = /^(startedAt|completedAt|duration)(>=|<=|>|<)(.*)$/;

/** The names that a filter may use. A client of the API that uses another one finds nothing, as with BuildKit. */
const names = ['ref', 'status', 'repository', 'frontend', 'pinned', 'startedAt', 'completedAt', 'duration'];

/**
 * Filters as the command is given them. docker's `status=error` means containerd's `status==error`. Throws `invalid` for a
 * name that no record has.
 */
export function commandFilters(given: readonly string[]): string[] {
  const filters = given.map((filter) => filter.replace(/(^|,)(\w+)=(?![=~])/g, '$1$2=='));
  for (const filter of filters) {
    const bad = () => fail('invalid', 'client', `failed to parse history filter ${JSON.stringify(filter)}`);
    for (const field of csvFields(filter, bad)) {
      const name = /^\s*"?([^"\s=!~<>]*)/.exec(field)?.[1] ?? '';
      if (names.includes(name)) continue;
      throw fail('invalid', 'client', `builds have no ${JSON.stringify(name)} to filter on`, {
        hint: `There are: ${names.join(', ')}.`,
      });
    }
  }
  return filters;
}

/** Reads filters. Throws `invalid` for one that cannot be read. `now` is the time from which ages count, in ms. */
export function recordFilter(filters: readonly string[], now = Date.now()): RecordFilter {
  if (filters.length === 0) return () => true;
  checkFiltersLength(filters);
  const alternatives = filters.map((filter) => alternative(filter, now));
  return (record) => alternatives.some((fits) => fits(record));
}

function alternative(filter: string, now: number): RecordFilter {
  const conditions: RecordFilter[] = [];
  const plain: string[] = [];
  const bad = () => fail('invalid', 'client', `failed to parse history filter ${JSON.stringify(filter)}`);
  for (const field of csvFields(filter, bad)) {
    const match = timed.exec(field);
    if (match === null) plain.push(field);
    else conditions.push(timeCondition(match[1] as string, match[2] as string, match[3] as string, now));
  }
  if (plain.length > 0) {
    const fits = readFilters([plain.join(',')]);
    conditions.push((record) => fits(fieldsOf(record)));
  }
  return (record) => conditions.every((fits) => fits(record));
}

function timeCondition(key: string, operator: string, text: string, now: number): RecordFilter {
  const bad = (what: string) => fail('invalid', 'client', `invalid ${what} ${text}`);
  const age = durationMs(text);
  let wanted: number;
  if (key === 'duration') {
    if (age === undefined) throw bad('duration');
    wanted = age;
  } else {
    wanted = age === undefined ? Date.parse(text) : now - age;
    if (Number.isNaN(wanted)) throw bad('time');
    // BuildKit compares whole seconds.
    wanted = Math.floor(wanted / 1000);
  }
  return (record) => {
    const value = timeOf(record, key);
    switch (operator) {
      case '>=':
        return value >= wanted;
      case '<=':
        return value <= wanted;
      case '>':
        return value > wanted;
      default:
        return value < wanted;
    }
  };
}

function timeOf({ CreatedAt, CompletedAt }: BuildHistoryRecord, key: string): number {
  const started = CreatedAt === undefined ? 0 : timestampMs(CreatedAt);
  if (key === 'startedAt') return Math.floor(started / 1000);
  if (CompletedAt === undefined) return 0;
  const completed = timestampMs(CompletedAt);
  return key === 'duration' ? completed - started : Math.floor(completed / 1000);
}

function fieldsOf(record: BuildHistoryRecord): Fields {
  const { Ref, Frontend, FrontendAttrs, pinned } = record;
  return {
    ref: Ref,
    status: statusOf(record),
    repository: FrontendAttrs['vcs:source'] ?? repositoryOf(FrontendAttrs.context ?? ''),
    frontend: Frontend,
    pinned,
  };
}

function statusOf({ CompletedAt, error }: BuildHistoryRecord): string {
  if (CompletedAt === undefined) return 'running';
  if (error === undefined) return 'completed';
  return saysCanceled(error.message) ? 'canceled' : 'error';
}

/** The URL of a remote context, without the part that says what is built of it. */
function repositoryOf(context: string): string {
  return (isRemoteUrl(context) && parseGitRemote(context)?.url) || '';
}
