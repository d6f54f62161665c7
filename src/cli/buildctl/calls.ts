/** buildctl's commands that ask a daemon something and print the answer. */

import { fail } from '../../errors/index.ts';
import { BuildHistoryEventType } from '../../pb/moby/buildkit/v1/control_pb.js';
import { durationNs } from '../../words/index.ts';
import type { CommandContext } from '../command.ts';
import type { FlagTable, FlagValues } from '../flags.ts';
import { print } from '../print.ts';
import { formatBytes, table } from '../units.ts';
import type { Connection } from './connection.ts';
import {
  platformsText,
  recordHead,
  recordJson,
  recordLine,
  recordText,
  workerJson,
  workerText,
} from './records.ts';

/** The flags of all commands that list something. */
const listFlags = {
  filter: {
    type: 'list',
    short: 'f',
    value: 'FILTER',
    help: "only what a filter (containerd's syntax) fits",
  },
  format: { type: 'string', value: 'FORMAT', help: '{{json .}}: as JSON' },
  verbose: { type: 'bool', short: 'v', help: 'all that is known' },
} as const satisfies FlagTable;

export const workersFlags = listFlags;
export const usageFlags = listFlags;
export const noFlags = {} as const satisfies FlagTable;
export const pruneFlags = {
  ...listFlags,
  all: { type: 'bool', help: 'also internal records, and those that images share' },
  'free-storage': { type: 'string', value: 'MB', help: 'keep this much of the disk free' },
  'keep-duration': { type: 'string', value: 'DURATION', help: 'keep what was used since then' },
  'keep-storage': { type: 'string', value: 'MB', help: 'keep at most this much' },
  'keep-storage-min': { type: 'string', value: 'MB', help: 'always keep this much' },
} as const satisfies FlagTable;

/** Lists the daemon's workers. */
export async function showWorkers(
  { control, call }: Connection,
  flags: FlagValues<typeof workersFlags>,
  { stdout }: CommandContext,
): Promise<void> {
  const asJson = isJson(flags.format);
  const { record } = await call((options) => control.listWorkers({ filter: flags.filter }, options));
  const text = asJson
    ? `${JSON.stringify(record.map(workerJson))}\n`
    : flags.verbose
      ? record.map(workerText).join('')
      : table([['ID', 'PLATFORMS'], ...record.map((worker) => [worker.ID, platformsText(worker)])]);
  await print(stdout, text);
}

/** Says which engine the daemon is. */
export async function showInfo({ control, call }: Connection, { stdout }: CommandContext): Promise<void> {
  const { buildkitVersion: version } = await call((options) => control.info({}, options));
  await print(stdout, `BuildKit: ${version?.package} ${version?.version} ${version?.revision}\n`);
}

/** Lists the cache records that the daemon has, with sums. */
export async function showUsage(
  { control, call }: Connection,
  flags: FlagValues<typeof usageFlags>,
  { stdout }: CommandContext,
): Promise<void> {
  const asJson = isJson(flags.format);
  const { record } = await call((options) => control.diskUsage({ filter: flags.filter }, options));
  if (asJson) return print(stdout, `${JSON.stringify(record.map(recordJson))}\n`);
  await print(
    stdout,
    flags.verbose ? record.map(recordText).join('') : recordHead + record.map(recordLine).join(''),
  );
  if (flags.filter.length > 0) return;
  const sum = (fits: (each: (typeof record)[number]) => boolean) =>
    record.filter(fits).reduce((all, { Size }) => all + Number(Size), 0);
  const [shared, idle, all] = [sum(({ Shared }) => Shared), sum(({ InUse }) => !InUse), sum(() => true)];
  const sharing =
    shared > 0
      ? [
          ['Shared:', formatBytes(shared)],
          ['Private:', formatBytes(all - shared)],
        ]
      : [];
  await print(stdout, table([...sharing, ['Reclaimable:', formatBytes(idle)], ['Total:', formatBytes(all)]]));
}

/** Removes cache records, and prints each as the daemon names it. */
export async function pruneRecords(
  { control, call }: Connection,
  flags: FlagValues<typeof pruneFlags>,
  { stdout }: CommandContext,
): Promise<void> {
  const asJson = isJson(flags.format);
  const request = {
    filter: flags.filter,
    all: flags.all ?? false,
    keepDuration: nanoseconds(flags['keep-duration']),
    reservedSpace: megabytes('keep-storage-min', flags['keep-storage-min']),
    maxUsedSpace: megabytes('keep-storage', flags['keep-storage']),
    minFreeSpace: megabytes('free-storage', flags['free-storage']),
  };
  let total = 0;
  let lines = 0;
  await call(async (options) => {
    for await (const record of control.prune(request, options)) {
      total += Number(record.Size);
      if (asJson) await print(stdout, `${JSON.stringify(recordJson(record))}\n`);
      else if (flags.verbose) await print(stdout, recordText(record));
      else await print(stdout, (lines++ === 0 ? recordHead : '') + recordLine(record));
    }
  });
  if (!asJson) await print(stdout, `Total:\t${formatBytes(total)}\n`);
}

/** Removes the records of builds that have ended and are not pinned. */
export async function pruneHistories({ control, call }: Connection): Promise<void> {
  await call(async (options) => {
    const refs: string[] = [];
    for await (const { type, record } of control.listenBuildHistory({ EarlyExit: true }, options)) {
      if (type === BuildHistoryEventType.COMPLETE && record !== undefined && !record.pinned)
        refs.push(record.Ref);
    }
    for (const Ref of refs) await control.updateBuildHistory({ Ref, Delete: true }, options);
  });
}

/** Of Go's templates there is `{{json .}}`. Throws `invalid`. */
function isJson(format: string | undefined): boolean {
  if (format === undefined || format === '') return false;
  if (/^(json|\{\{-?\s*json\s+\.\s*-?\}\})$/.test(format.trim())) return true;
  throw fail('invalid', 'client', `--format ${JSON.stringify(format)} is not supported`, {
    hint: "Of Go's templates there is {{json .}}; pick fields of that with jq.",
  });
}

function megabytes(name: string, text: string | undefined): bigint {
  if (text === undefined || text === '') return 0n;
  if (/^\d{1,12}(\.\d+)?$/.test(text)) return BigInt(Math.round(Number(text) * 1e6));
  throw fail('invalid', 'client', `--${name}=${text} is no number of megabytes`);
}

function nanoseconds(text: string | undefined): bigint {
  if (text === undefined || text === '') return 0n;
  const bad = (why: string) => fail('invalid', 'client', `--keep-duration=${text}: ${why}`);
  const ns = durationNs(text, bad);
  if (ns < 0) throw bad('it is below zero');
  return BigInt(ns);
}
