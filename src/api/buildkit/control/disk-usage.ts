/** Control's DiskUsage and Prune. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { cachesOf } from '../../../auth/index.ts';
import { readFilters } from '../../../patterns/index.ts';
import type { Control, UsageRecordSchema } from '../../../pb/moby/buildkit/v1/control_pb.js';
import {
  diskUsage,
  fieldsOf,
  isMutable,
  type PruneRule,
  pruneBy,
  type UsageRecord,
} from '../../../upkeep/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { callerOf } from '../caller.ts';
import { timestamp } from '../timestamp.ts';

/** Makes the methods. */
export function usageService(host: ApiHost): Pick<ServiceImpl<typeof Control>, 'diskUsage' | 'prune'> {
  const { engine } = host;
  return {
    async diskUsage({ filter, ageLimit }, context) {
      const oldest = ageLimit > 0n ? Date.now() - ms(ageLimit) : Number.POSITIVE_INFINITY;
      const fits = readFilters(filter);
      const records = await diskUsage(engine, cachesOf(callerOf(context)));
      return {
        record: records.filter((each) => each.lastUsedAt <= oldest && fits(fieldsOf(each))).map(message),
      };
    },
    async *prune(request, context) {
      const rule: PruneRule = {
        all: request.all,
        filters: request.filter,
        unusedFor: request.keepDuration > 0n ? ms(request.keepDuration) : undefined,
        reservedSpace: Number(request.reservedSpace),
        maxUsedSpace: Number(request.maxUsedSpace),
        minFreeSpace: Number(request.minFreeSpace),
      };
      const report = await pruneBy(engine, rule, { owner: cachesOf(callerOf(context)) });
      host.events.emit('builder', 'prune', '', { reclaimed: String(report.reclaimed) });
      for (const record of report.records) yield message(record);
    },
  };
}

function ms(ns: bigint): number {
  return Number(ns / 1_000_000n);
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
