/** The routes of images: their list, one image, the files in its layers, what is stated of it. */
import { findImageFor, type StoredImage, storedImages } from '../../distribution/index.ts';
import { fail } from '../../errors/index.ts';
import { ImageFiles, imageStatements, listImages, storedLayers } from '../../images/index.ts';
import { familiarName, formatPlatform, type Platform, parsePlatform } from '../../oci/index.ts';
import type { Store } from '../../store/index.ts';
import { engineOf, numberIn, type UiCall, type UiRoute } from './route.ts';
import type {
  ImageDetail,
  ImageLayer,
  ImageLine,
  ImageList,
  ImageStep,
  LayerFolder,
  LayerSums,
} from './types.ts';

const mostFiles = 5000;

export const imageRoutes: readonly UiRoute[] = [
  { method: 'GET', path: '/images', scopes: ['images:read'], handle: list },
  { method: 'GET', path: '/images/*', scopes: ['images:read'], handle: image },
  { method: 'GET', path: '/images/*/layers', scopes: ['images:read'], handle: layers },
  { method: 'GET', path: '/images/*/layers/*/files', scopes: ['images:read'], handle: files },
  { method: 'GET', path: '/images/*/documents/*', scopes: ['images:read'], handle: document },
];

async function list({ host }: UiCall): Promise<{ json: ImageList }> {
  const { store } = engineOf(host);
  const images = (await listImages(store)).map(
    ({ id, names, target, size, created, platforms }): ImageLine => ({
      ...{ id, names, target, size, created, platforms },
    }),
  );
  return { json: { store: { kind: store.kind, snapshotter: store.snapshotter }, images } };
}

function platformOf(query: URLSearchParams): Platform | undefined {
  const text = query.get('platform');
  return text === null || text === '' ? undefined : parsePlatform(text);
}

const found = ({ host, query, names: [name = ''] }: UiCall) =>
  findImageFor(engineOf(host).store, name, platformOf(query));

async function image(call: UiCall): Promise<{ json: ImageDetail }> {
  const { store } = engineOf(call.host);
  const { image, record, records } = await found(call);
  const { id, manifest, config } = image;
  const all = await storedImages(store, record.name, record.target);
  const layers = await layersOf(store, image);
  const platform = formatPlatform(config);
  const name = call.names[0] ?? '';
  const statements = await imageStatements(store, name, { platform: config });
  return {
    json: {
      id,
      names: records.map((each) => familiarName(each.name)).filter((each) => !/^moby-dangling@/.test(each)),
      target: record.target.digest,
      size: layers.reduce((sum, { blob, size = blob }) => sum + size, 0),
      created: timeOf(config.created),
      platforms: all.map((each) => formatPlatform(each.config)),
      platform,
      manifest: manifest.digest,
      author: config.author,
      config: { ...config.config },
      layers,
      history: historyOf(image),
      attestations: statements.map(({ descriptor: { digest, size }, predicateType }) => ({
        ...{ digest, size, type: predicateType },
      })),
    },
  };
}

async function layersOf(store: Store, image: StoredImage): Promise<ImageLayer[]> {
  return Promise.all(
    (await storedLayers(store, image)).map(async ({ descriptor, diffId, snapshot }) => {
      const { digest, mediaType, size: blob } = descriptor;
      const size = snapshot && (await store.snapshots.usage(snapshot.key)).size;
      return { digest, diffId, mediaType, blob, size };
    }),
  );
}

/** The steps, oldest first. Layers that the history does not mention are steps without words. */
function historyOf({ config, document }: StoredImage): ImageStep[] {
  let next = 0;
  const steps = (config.history ?? []).map((entry): ImageStep => {
    const { created_by: createdBy = '', comment, created, empty_layer } = entry;
    const has = !empty_layer && next < document.layers.length;
    return { createdBy, comment, created: timeOf(created), layer: has ? next++ : undefined };
  });
  for (; next < document.layers.length; next++) steps.push({ createdBy: '', layer: next });
  return steps;
}

function timeOf(text: string | undefined): number | undefined {
  const time = Date.parse(text ?? '');
  return Number.isNaN(time) ? undefined : time;
}

/** The lists of files of each store that pages have asked for. */
const lists = new WeakMap<Store, ImageFiles>();

function filesOf(store: Store): ImageFiles {
  let known = lists.get(store);
  if (known === undefined) {
    known = new ImageFiles(store);
    lists.set(store, known);
  }
  return known;
}

async function layers(call: UiCall): Promise<{ json: LayerSums }> {
  const { image } = await found(call);
  const sums = await filesOf(engineOf(call.host).store).sums(image, call.signal);
  return { json: { layers: sums.map((each) => each ?? null) } };
}

async function files(call: UiCall): Promise<{ json: LayerFolder }> {
  const { query, names, signal } = call;
  const { image } = await found(call);
  const layer = Number(names[1]);
  if (!/^\d{1,4}$/.test(names[1] ?? '') || layer >= image.document.layers.length) {
    throw fail('not-found', 'client', `the image has no layer ${names[1]}`, {
      hint: `It has ${image.document.layers.length}, counted from 0.`,
    });
  }
  const folder = `/${(query.get('folder') ?? '')
    .split('/')
    .filter((part) => part !== '')
    .join('/')}`;
  const from = numberIn(query, 'from', { or: 0, most: Number.MAX_SAFE_INTEGER });
  const count = Math.max(1, numberIn(query, 'count', { or: 1000, most: mostFiles }));
  const lines = filesOf(engineOf(call.host).store);
  const part = await lines.folder(image, { layer, folder, from, count }, signal);
  return { json: { ...part, from } };
}

/** A statement, as the attestation has it. */
async function document(call: UiCall): Promise<undefined> {
  const { host, query, names, response, signal } = call;
  const [name = '', digest] = names;
  const statements = await imageStatements(engineOf(host).store, name, { platform: platformOf(query) });
  const statement = statements.find(({ descriptor }) => descriptor.digest === digest);
  if (statement === undefined) throw fail('not-found', 'client', `the image has no statement ${digest}`);
  const bytes = await statement.read(signal);
  response.writeHead(200, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': bytes.length,
    'cache-control': 'no-store',
  });
  response.end(bytes);
  return undefined;
}
