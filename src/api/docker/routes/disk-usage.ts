/** `GET /system/df`. */
import { cachesOf } from '../../../auth/index.ts';
import { diskUsage } from '../../../upkeep/index.ts';
import { apiError } from '../http/errors.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { layerSizes, listedImages } from '../images.ts';
import { summaryOf } from './image-list.ts';

export const diskUsageRoutes: Route[] = [
  { method: 'GET', path: '/system/df', scopes: ['system:read'], handle: df },
];

const types = ['container', 'image', 'volume', 'build-cache'];

async function df({ host, query, version, authority }: Call) {
  const wanted = query.all('type');
  for (const type of wanted)
    if (!types.includes(type)) throw apiError('invalid', `unknown object type: ${type}`);
  const wants = (type: string) => wanted.length === 0 || wanted.includes(type);
  const { engine } = host;
  const json: Record<string, unknown> = {};
  if (wants('image')) {
    const images = await listedImages(engine.store);
    const { total, shared, size } = await layerSizes(engine.store, images);
    json.LayersSize = total;
    json.Images = images.map((image) =>
      summaryOf(image, {
        version,
        size: size.get(image.id) ?? 0,
        shared: shared.get(image.id) ?? 0,
        containers: 0,
      }),
    );
  }
  if (wants('container')) json.Containers = [];
  if (wants('volume')) json.Volumes = [];
  if (wants('build-cache')) {
    const records = await diskUsage(engine, cachesOf(authority));
    const time = (ms: number) => new Date(ms).toISOString();
    json.BuildCache = records.map((record) => ({
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
    }));
    if (isBefore(version, '1.42')) json.BuilderSize = records.reduce((sum, record) => sum + record.size, 0);
  }
  return { json };
}
