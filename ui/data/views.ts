/** What the views of images and of the disk ask the daemon. */
import type {
  DiskUsage,
  ImageDetail,
  ImageList,
  LayerFolder,
  LayerSums,
  PruneAnswer,
} from '../../src/api/ui/types.ts';
import { ask } from './source.ts';

/** What a prune is to take. */
export interface PruneAsked {
  dryRun: boolean;
  ids?: string[];
  filters?: string[];
  all?: boolean;
}

export function diskUsage(filters: readonly string[], sort: string): Promise<DiskUsage> {
  const query = new URLSearchParams({ sort, limit: '5000' });
  for (const filter of filters) query.append('filter', filter);
  return ask(`disk?${query}`);
}

export function prune(asked: PruneAsked): Promise<PruneAnswer> {
  return ask('disk/prune', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(asked),
  });
}

/** The address of an image in the API. */
function imageAt(name: string, rest: string, fields: Record<string, string | number>): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(fields)) if (value !== '') query.set(key, String(value));
  return `images/${encodeURIComponent(name)}${rest}?${query}`;
}

export function images(): Promise<ImageList> {
  return ask('images');
}

export function image(name: string, platform: string): Promise<ImageDetail> {
  return ask(imageAt(name, '', { platform }));
}

export function layerSums(name: string, platform: string): Promise<LayerSums> {
  return ask(imageAt(name, '/layers', { platform }));
}

/** How many lines of a folder are asked for at once. */
export const linesAtOnce = 1000;

export function layerFolder(
  name: string,
  place: { platform: string; layer: number; folder: string; from: number },
): Promise<LayerFolder> {
  const { layer, ...fields } = place;
  return ask(imageAt(name, `/layers/${layer}/files`, { ...fields, count: linesAtOnce }));
}

/** The address of a statement about an image, as JSON. */
export function statementAddress(name: string, platform: string, digest: string): string {
  return `/ui/api/v1/${imageAt(name, `/documents/${digest}`, { platform })}`;
}
