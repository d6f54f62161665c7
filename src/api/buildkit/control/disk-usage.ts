/** Control's DiskUsage and Prune. */
import { statfs } from 'node:fs/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { diskUsage, prune, type UsageRecord } from '../../../build/disk-usage.ts';
import type { Control, PruneRequest, UsageRecordSchema } from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { ApiHost } from '../../shared/host.ts';
import { timestamp } from '../timestamp.ts';
import { type Fields, matches } from './filter.ts';

export function usageService(host: ApiHost): Pick<ServiceImpl<typeof Control>, 'diskUsage' | 'prune'> {
  const { engine } = host;
  return {
    async diskUsage({ filter, ageLimit }) {
      const oldest = ageLimit > 0n ? Date.now() - ms(ageLimit) : Number.POSITIVE_INFINITY;
      const records = await diskUsage(engine);
      return {
        record: records
          .filter((each) => each.lastUsedAt <= oldest && matches(filter, fieldsOf(each)))
          .map(message),
      };
    },
    async *prune(request) {
      const usage = await diskUsage(engine);
      const report = await prune(engine, {
        all: request.all,
        unusedFor: request.keepDuration > 0n ? ms(request.keepDuration) : undefined,
        keepBytes: await keepBytes(request, engine.store.root, usage),
        ids:
          request.filter.length === 0
            ? undefined
            : usage.filter((each) => matches(request.filter, fieldsOf(each))).map(({ id }) => id),
      });
      host.events.emit('builder', 'prune', '', { reclaimed: String(report.reclaimed) });
      for (const record of report.records) yield message(record);
    },
  };
}

/** What may stay: undefined when nothing is said of it. */
async function keepBytes(
  { reservedSpace, maxUsedSpace, minFreeSpace }: PruneRequest,
  root: string,
  usage: readonly UsageRecord[],
): Promise<number | undefined> {
  const limits: number[] = [];
  if (maxUsedSpace > 0n) limits.push(Number(maxUsedSpace));
  if (minFreeSpace > 0n) {
    const disk = await statfs(root);
    const free = disk.bavail * disk.bsize;
    const total = usage.reduce((sum, { size }) => sum + size, 0);
    limits.push(Math.max(0, total - Math.max(0, Number(minFreeSpace) - free)));
  }
  if (limits.length === 0) return reservedSpace > 0n ? Number(reservedSpace) : undefined;
  return Math.max(Number(reservedSpace), Math.min(...limits));
}

function ms(ns: bigint): number {
  return Number(ns / 1_000_000n);
}

function fieldsOf(record: UsageRecord): Fields {
  return {
    id: record.id,
    type: record.type,
    description: record.description,
    inuse: record.inUse,
    shared: record.shared,
    private: !record.shared,
    mutable: isMutable(record),
    immutable: !isMutable(record),
    parents: '',
  };
}

/** Cache mounts and folders kept for the next time change in place. */
function isMutable({ type, id }: UsageRecord): boolean {
  return type === 'exec.cachemount' || !id.startsWith('sha256:');
}

function message(record: UsageRecord): MessageInitShape<typeof UsageRecordSchema> {
  return {
    ID: record.id,
    Mutable: isMutable(record),
    InUse: record.inUse,
    Size: BigInt(Math.round(record.size)),
    CreatedAt: timestamp(record.createdAt),
    LastUsedAt: timestamp(record.lastUsedAt),
    UsageCount: BigInt(record.usageCount),
    Description: record.description,
    RecordType: record.type,
    Shared: record.shared,
  };
}
