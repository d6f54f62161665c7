/** `GET /system/df`. */

import { cachesOf } from '../../../auth/index.ts';
import { listedImages } from '../../../images/index.ts';
import { diskUsage, type UsageRecord } from '../../../upkeep/index.ts';
import { onlyThere, seenBehind } from '../behind/images-there.ts';
import { engineUsage } from '../behind/merge.ts';
import { apiError } from '../http/errors.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { layerSizes } from '../images.ts';
import { summaryOf } from './image-list.ts';

export const diskUsageRoutes: Route[] = [
  { method: 'GET', path: '/system/df', scopes: ['system:read'], handle: df },
];

const types = ['container', 'image', 'volume', 'build-cache'];

/** What is kept of one kind of thing. API 1.52 and later. */
interface KindUsage {
  ActiveCount: number;
  TotalCount: number;
  TotalSize: number;
  Reclaimable: number;
  /** The things themselves, where they were asked for. */
  Items?: readonly object[];
}

async function df({ host, query, version, authority, signal }: Call) {
  const wanted = query.all('type');
  for (const type of wanted)
    if (!types.includes(type)) throw apiError('invalid', `unknown object type: ${type}`);
  const wants = (type: string) => wanted.length === 0 || wanted.includes(type);
  const verbose = query.bool('verbose') && !isBefore(version, '1.52');
  // 1.52 tells everything in both forms, unless it is asked for the new one by its parameter.
  const isOld = isBefore(version, '1.53') && !verbose;
  const { engine } = host;
  const json: Record<string, unknown> = {};
  const tell = (name: string, usage: KindUsage, items: readonly object[]) => {
    if (!isBefore(version, '1.52')) json[name] = verbose ? { ...usage, Items: items } : usage;
  };
  const seen = seenBehind(host, authority);
  const behind = seen && (await engineUsage(seen, signal));
  const containers = behind?.Containers ?? [];
  if (wants('image')) {
    const images = await listedImages(engine.store);
    const { total, shared, size } = await layerSizes(engine.store, images);
    const using = ({ id, target }: (typeof images)[number]) =>
      containers.filter(({ ImageID }) => ImageID === id || ImageID === target.digest).length;
    const own = images.map((image) =>
      summaryOf(image, {
        version,
        size: size.get(image.id) ?? 0,
        shared: shared.get(image.id) ?? 0,
        containers: using(image),
      }),
    );
    // A name that only the engine has may be one of an image of ours: its bytes are there all the same.
    const there = onlyThere(behind?.Images ?? [], images);
    const bytes = (list: typeof there) => list.reduce((sum, { Size }) => sum + Size, 0);
    const all = total + bytes(there);
    const items = [...own, ...there];
    if (isOld) Object.assign(json, { LayersSize: all, Images: items });
    const active = images.filter((image) => using(image) > 0);
    // What an image that is in use shares with others stays with it.
    const held = active.reduce((sum, { id }) => sum + (size.get(id) ?? 0), 0);
    const activeThere = there.filter(({ Containers = 0 }) => Containers > 0);
    const reclaimable = Math.max(0, all - held - bytes(activeThere));
    const count = active.length + activeThere.length;
    tell('ImageUsage', usageOf(items.length, count, all, reclaimable), items);
  }
  if (wants('container')) {
    if (isOld) json.Containers = containers;
    const space = (list: typeof containers) => list.reduce((sum, { SizeRw = 0 }) => sum + SizeRw, 0);
    const active = containers.filter(({ State = '' }) => /^(running|paused|restarting)$/.test(State));
    const all = space(containers);
    tell('ContainerUsage', usageOf(containers.length, active.length, all, all - space(active)), containers);
  }
  if (wants('volume')) {
    const volumes = behind?.Volumes ?? [];
    if (isOld) json.Volumes = volumes;
    const space = (list: typeof volumes) =>
      list.reduce((sum, { UsageData }) => sum + Math.max(0, UsageData?.Size ?? 0), 0);
    const active = volumes.filter(({ UsageData }) => (UsageData?.RefCount ?? 0) > 0);
    const all = space(volumes);
    tell('VolumeUsage', usageOf(volumes.length, active.length, all, all - space(active)), volumes);
  }
  if (wants('build-cache')) {
    const records = await diskUsage(engine, cachesOf(authority));
    const items = records.map((record) => recordOf(record, version));
    if (isOld) json.BuildCache = items;
    const space = (list: typeof records) => list.reduce((sum, { size }) => sum + size, 0);
    const active = records.filter(({ inUse }) => inUse);
    const idle = records.filter(({ inUse, shared }) => !inUse && !shared);
    const all = space(records.filter(({ shared }) => !shared));
    tell('BuildCacheUsage', usageOf(records.length, active.length, all, space(idle)), items);
    if (isBefore(version, '1.42')) json.BuilderSize = space(records);
  }
  return { json };
}

function usageOf(TotalCount: number, ActiveCount: number, TotalSize: number, Reclaimable: number): KindUsage {
  return { ActiveCount, TotalCount, TotalSize, Reclaimable };
}

function recordOf(record: UsageRecord, version: string): object {
  const time = (ms: number) => new Date(ms).toISOString();
  return {
    ID: record.id,
    ...(isBefore(version, '1.42') ? { Parent: '' } : {}),
    Type: record.type,
    Description: record.description,
    InUse: record.inUse,
    Shared: record.shared,
    Size: record.size,
    CreatedAt: time(record.createdAt),
    LastUsedAt: time(record.lastUsedAt),
    UsageCount: record.usageCount,
  };
}
