/** What buildctl prints of a daemon's cache records and workers: as text, or in the JSON of BuildKit's client. Pure. */
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { UsageRecord } from '../../pb/moby/buildkit/v1/control_pb.js';
import type { GCPolicy, WorkerRecord } from '../../pb/moby/buildkit/v1/types/worker_pb.js';
import { formatBytes } from '../units.ts';

/** The head of the table of records. */
export const recordHead = `${'ID'.padEnd(72)}${'RECLAIMABLE'.padEnd(13)}${'SIZE'.padEnd(12)}LAST ACCESSED\n`;

/** A record's line in the table. `*` after the id: it is written to; after the size: others have the same files. */
export function recordLine({ ID, Mutable, InUse, Size, Shared, LastUsedAt }: UsageRecord): string {
  const size = formatBytes(Number(Size)) + (Shared ? '*' : '');
  const used = LastUsedAt === undefined ? '' : dateOf(LastUsedAt);
  return (
    `${`${ID}${Mutable ? '*' : ''}`.padEnd(72)}${String(!InUse).padEnd(13)}${size.padEnd(12)}${used}`.trimEnd() +
    '\n'
  );
}

/** All that is known of a record, a line each, and an empty one. */
export function recordText(record: UsageRecord): string {
  const { Parents, CreatedAt, LastUsedAt } = record;
  return lines([
    ['ID', record.ID],
    ['Parents', Parents.length > 0 ? Parents.join(';') : undefined],
    ['Created at', CreatedAt && dateOf(CreatedAt)],
    ['Mutable', String(record.Mutable)],
    ['Reclaimable', String(!record.InUse)],
    ['Shared', String(record.Shared)],
    ['Size', formatBytes(Number(record.Size))],
    ['Description', record.Description || undefined],
    ['Usage count', String(record.UsageCount)],
    ['Last used', LastUsedAt && dateOf(LastUsedAt)],
    ['Type', record.RecordType || undefined],
  ]);
}

/** A record as BuildKit's Go client writes it. */
export function recordJson(record: UsageRecord): object {
  return {
    id: record.ID,
    mutable: record.Mutable,
    inUse: record.InUse,
    size: Number(record.Size),
    createdAt: record.CreatedAt === undefined ? '0001-01-01T00:00:00Z' : dateOf(record.CreatedAt),
    lastUsedAt: record.LastUsedAt === undefined ? null : dateOf(record.LastUsedAt),
    usageCount: Number(record.UsageCount),
    parents: record.Parents.length > 0 ? record.Parents : null,
    description: record.Description,
    recordType: record.RecordType,
    shared: record.Shared,
  };
}

/** A worker's platforms: `linux/amd64,linux/arm64`. */
export function platformsText(worker: WorkerRecord): string {
  return worker.platforms
    .map(({ OS, Architecture, Variant }) => [OS, Architecture, Variant].filter(Boolean).join('/'))
    .join(',');
}

/** All that is known of a worker. */
export function workerText(worker: WorkerRecord): string {
  const { BuildkitVersion: engine } = worker;
  let text = lines([
    ['ID', worker.ID],
    ['Platforms', platformsText(worker)],
    ['BuildKit', engine && `${engine.package} ${engine.version} ${engine.revision}`],
    ['Dockerfile', engine?.dockerfileVersion || undefined],
  ]).trimEnd();
  text += '\nLabels:\n';
  for (const name of Object.keys(worker.Labels).sort()) text += `\t${name}:\t${worker.Labels[name]}\n`;
  if (worker.CDIDevices.length > 0) text += 'Devices:\n';
  for (const { Name, OnDemand, AutoAllow, Annotations } of worker.CDIDevices) {
    text += `\tName:\t${Name}\n`;
    text += OnDemand ? '\tOnDemand:\ttrue\n' : `\tAutoAllow:\t${AutoAllow}\n`;
    for (const key of Object.keys(Annotations).sort())
      text += `\tAnnotations:\t${key}:\t${Annotations[key]}\n`;
  }
  for (const [i, rule] of worker.GCPolicy.entries()) text += `GC Policy rule#${i}:\n${ruleText(rule)}`;
  return `${text}\n`;
}

function ruleText(rule: GCPolicy): string {
  const space = (bytes: bigint) => (bytes > 0n ? formatBytes(Number(bytes)) : undefined);
  return lines([
    ['All', String(rule.all)],
    ['Filters', rule.filters.length > 0 ? rule.filters.join(' ') : undefined],
    ['Keep duration', rule.keepDuration > 0n ? `${Number(rule.keepDuration) / 1e9}s` : undefined],
    ['Reserved space', space(rule.reservedSpace)],
    ['Minimum free space', space(rule.minFreeSpace)],
    ['Maximum used space', space(rule.maxUsedSpace)],
  ])
    .trimEnd()
    .replace(/^/gm, '\t')
    .concat('\n');
}

/** A worker as BuildKit's Go client writes it. */
export function workerJson(worker: WorkerRecord): object {
  return {
    id: worker.ID,
    labels: worker.Labels,
    platforms: worker.platforms.map(({ OS, Architecture, Variant, OSVersion, OSFeatures }) => ({
      architecture: Architecture,
      os: OS,
      ...(OSVersion === '' ? {} : { 'os.version': OSVersion }),
      ...(OSFeatures.length === 0 ? {} : { 'os.features': OSFeatures }),
      ...(Variant === '' ? {} : { variant: Variant }),
    })),
    gcPolicy: worker.GCPolicy.map((rule) => ({
      all: rule.all,
      filter: rule.filters,
      keepDuration: Number(rule.keepDuration),
      reservedSpace: Number(rule.reservedSpace),
      maxUsedSpace: Number(rule.maxUsedSpace),
      minFreeSpace: Number(rule.minFreeSpace),
    })),
    buildkitVersion: versionJson(worker),
    cdiDevices: worker.CDIDevices.map(({ Name, AutoAllow, Annotations, OnDemand }) => ({
      name: Name,
      autoAllow: AutoAllow,
      annotations: Annotations,
      onDemand: OnDemand,
    })),
  };
}

function versionJson({ BuildkitVersion: engine }: WorkerRecord): object {
  return {
    package: engine?.package ?? '',
    version: engine?.version ?? '',
    revision: engine?.revision ?? '',
    ...(engine?.dockerfileVersion ? { dockerfileVersion: engine.dockerfileVersion } : {}),
  };
}

function lines(rows: readonly (readonly [string, string | undefined])[]): string {
  const shown = rows.filter(([, value]) => value !== undefined);
  const width = Math.max(...shown.map(([name]) => name.length)) + 2;
  return `${shown.map(([name, value]) => `${`${name}:`.padEnd(width)}${value}\n`).join('')}\n`;
}

/** Of the time on the wire, to the ms. */
function dateOf({ seconds, nanos }: Timestamp): string {
  return new Date(Number(seconds) * 1000 + Math.floor(nanos / 1e6)).toISOString();
}
