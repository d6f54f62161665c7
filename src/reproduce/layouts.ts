/** What differs between two OCI layouts of the same build. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Descriptor, formatPlatform, type ImageConfig } from '../oci/index.ts';
import { compareLayers, type Difference } from './layers.ts';

/** A part of the results that differs: an image's configuration, or one of its layers. */
export interface PartDifference {
  /** `linux/amd64: layer 2 of 3 (RUN make)` */
  part: string;
  /** How many differences there are; the first of them are told. */
  count: number;
  differences: Difference[];
}

/** The most differences that are told of one part. */
const most = 20;

interface Image {
  platform: string;
  config: ImageConfig & Record<string, unknown>;
  layers: Descriptor[];
}

/**
 * Compares the images of two layouts (folders), platform by platform. Statements about images, which have the times of
 * their build, are left out. Empty when the results are equal.
 */
export async function compareLayouts(first: string, second: string): Promise<PartDifference[]> {
  const [before, after] = await Promise.all([imagesOf(first), imagesOf(second)]);
  const found: PartDifference[] = [];
  const add = (part: string, differences: Difference[], count = differences.length) => {
    if (count > 0) found.push({ part, count, differences: differences.slice(0, most) });
  };
  const names = (images: readonly Image[]) => images.map(({ platform }) => platform).join(', ');
  if (names(before) !== names(after)) {
    const difference = { path: '', what: 'platforms', first: names(before), second: names(after) };
    return [{ part: 'index', count: 1, differences: [difference] }];
  }
  for (const [i, a] of before.entries()) {
    const b = after[i] as Image;
    add(`${a.platform}: config`, fieldsThatDiffer(settings(a.config), settings(b.config)));
    for (let n = 0; n < Math.max(a.layers.length, b.layers.length); n++) {
      const [x, y] = [a.layers[n], b.layers[n]];
      if (x !== undefined && x.digest === y?.digest) continue;
      const part = `${a.platform}: ${layerName(a, n)}`;
      if (x === undefined || y === undefined) {
        const there = (layer: unknown) => (layer === undefined ? 'missing' : 'there');
        add(part, [{ path: '', what: 'layer', first: there(x), second: there(y) }]);
        continue;
      }
      const { differences, count } = await compareLayers(blob(first, x.digest), blob(second, y.digest), most);
      const whole = { path: '', what: 'archive', first: x.digest, second: y.digest };
      add(part, count === 0 ? [whole] : differences, Math.max(count, 1));
    }
  }
  return found;
}

function blob(layout: string, digest: string): string {
  return join(layout, 'blobs', digest.replace(':', '/'));
}

async function imagesOf(layout: string): Promise<Image[]> {
  const read = async <T>(path: string) => JSON.parse(await readFile(path, 'utf8')) as T;
  type Manifest = { manifests?: Descriptor[]; config?: Descriptor; layers?: Descriptor[] };
  const images: Image[] = [];
  const visit = async ({ manifests = [], config, layers = [] }: Manifest): Promise<void> => {
    for (const { digest, annotations } of manifests) {
      if (annotations?.['vnd.docker.reference.type'] !== undefined) continue;
      await visit(await read<Manifest>(blob(layout, digest)));
    }
    if (config === undefined) return;
    const told = await read<Image['config']>(blob(layout, config.digest));
    images.push({ platform: formatPlatform(told), config: told, layers });
  };
  await visit(await read<Manifest>(join(layout, 'index.json')));
  return images;
}

/** A configuration without the layers' digests, which tell no more than the layers. */
function settings({ rootfs: _, ...rest }: Image['config']): Record<string, unknown> {
  return rest;
}

/** The fields of two JSON values that differ, by their paths. */
function fieldsThatDiffer(a: unknown, b: unknown, path = ''): Difference[] {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null;
  if (isObject(a) && isObject(b)) {
    return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((name) =>
      fieldsThatDiffer(a[name], b[name], path === '' ? name : `${path}.${name}`),
    );
  }
  if (a === b) return [];
  const text = (value: unknown) => (value === undefined ? 'missing' : JSON.stringify(value));
  return [{ path, what: 'value', first: text(a), second: text(b) }];
}

/** A layer's number and the step that made it. */
function layerName({ config, layers }: Image, n: number): string {
  const steps = (config.history ?? []).filter(({ empty_layer }) => empty_layer !== true);
  const step = steps[n]?.created_by;
  return `layer ${n + 1} of ${layers.length}${step === undefined ? '' : ` (${step})`}`;
}
