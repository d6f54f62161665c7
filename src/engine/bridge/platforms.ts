/** From a frontend's result to the results that exporters take, one for each platform. */
import { fail } from '../../errors/index.ts';
import type { PlatformResult } from '../../exporter/index.ts';
import type { FrontendTarget } from '../../frontend/index.ts';
import { create, DefinitionSchema, type Graph } from '../../llb/index.ts';
import {
  defaultEnv,
  documentExcess,
  formatPlatform,
  hostPlatform,
  type ImageConfig,
  normalizePlatform,
  type Platform,
} from '../../oci/index.ts';
import { epochSeconds } from '../../words/index.ts';
import { isDue, nextTurn } from '../../workers/index.ts';
import type { BridgeRef } from './ref.ts';
import type { BridgeResult } from './types.ts';

/**
 * Solves the trees of a result that are not solved yet, and pairs them with their platforms and image configs, which
 * the metadata `refs.platforms` and `containerimage.config[/PLATFORM]` give. Throws `invalid` (hop `frontend`) for
 * metadata that does not fit the trees, and the errors of solving.
 */
export async function platformResults(result: BridgeResult): Promise<PlatformResult[]> {
  const platforms = platformsOf(result);
  const { refs } = result;
  return Promise.all(
    platforms.map(async ({ id, platform }) => {
      if (isDue()) await nextTurn();
      if (refs !== undefined && !refs.has(id)) {
        throw fail('invalid', 'frontend', `failed to find ref for ID ${id}`);
      }
      const ref = refs === undefined ? result.ref : refs.get(id);
      const baseHistory = baseConfigOf(result, id)?.history;
      if (isDue()) await nextTurn();
      const config = configOf(result, id, platform);
      return { id, platform, ref: await ref?.result(), config, baseHistory };
    }),
  );
}

/** The refs of the same trees, in the same order; undefined for the empty tree. */
export function platformRefs(result: BridgeResult): (BridgeRef | undefined)[] {
  return platformsOf(result).map(({ id }) => (result.refs === undefined ? result.ref : result.refs.get(id)));
}

/** The same refs with the names of their trees. */
export function namedRefs(result: BridgeResult): { id: string; ref: BridgeRef | undefined }[] {
  const refs = platformRefs(result);
  return platformsOf(result).map(({ id }, i) => ({ id, ref: refs[i] }));
}

/** The solved graphs of the same trees, in the same order; undefined for the empty tree, and one that was there already. */
export function platformGraphs(result: BridgeResult): Promise<(Graph | undefined)[]> {
  return Promise.all(platformRefs(result).map((ref) => ref?.graph()));
}

/**
 * The definition and the config of each platform, without solving anything. Throws as `platformResults` does for bad
 * metadata.
 */
export function platformTargets(result: BridgeResult): FrontendTarget[] {
  const epoch = frontendEpoch(result);
  return platformsOf(result).map(({ id, platform }) => {
    const ref = result.refs === undefined ? result.ref : result.refs.get(id);
    const definition = ref?.definition ?? create(DefinitionSchema, {});
    const config = configOf(result, id, platform);
    return { id, platform, definition, epoch, config, baseConfig: baseConfigOf(result, id) };
  });
}

/** The metadata key of a result's SOURCE_DATE_EPOCH, in seconds; with `/PLATFORM` behind it for one platform. */
export const epochKey = 'source.date.epoch';

/** The metadata key of the config of the image that a result builds on; with `/PLATFORM` behind it for one platform. */
export const baseConfigKey = 'containerimage.base.config';

function baseConfigOf(result: BridgeResult, id: string): Pick<ImageConfig, 'history'> | undefined {
  const own = `${baseConfigKey}/${id}`;
  const base = jsonOf<unknown>(result, hasBytes(result, own) ? own : baseConfigKey);
  return typeof base === 'object' && base !== null && Array.isArray((base as ImageConfig).history)
    ? (base as ImageConfig)
    : undefined;
}

/** The first SOURCE_DATE_EPOCH in a result's metadata. */
export function frontendEpoch({ metadata }: BridgeResult): number | undefined {
  const name = Object.keys(metadata).find((key) => key === epochKey || key.startsWith(`${epochKey}/`));
  const text = name === undefined ? '' : Buffer.from(metadata[name] ?? []).toString();
  if (text === '') return undefined;
  const seconds = epochSeconds(text);
  if (seconds === undefined)
    throw fail('invalid', 'frontend', `invalid SOURCE_DATE_EPOCH from frontend: ${text}`);
  return seconds;
}

interface Named {
  id: string;
  platform: Platform;
}

function platformsOf(result: BridgeResult): Named[] {
  const bytes = result.metadata['refs.platforms'];
  if (bytes === undefined || bytes.length === 0) {
    if (result.refs !== undefined && result.refs.size > 1) {
      throw fail('invalid', 'frontend', 'a result of several refs does not say which platforms they are for');
    }
    const only = result.refs?.keys().next().value;
    const config = jsonOf<Partial<ImageConfig>>(result, 'containerimage.config');
    if (config && !config.os !== !config.architecture) {
      throw fail(
        'invalid',
        'frontend',
        'invalid image config: os and architecture must be specified together',
      );
    }
    const platform = normalizePlatform(config?.os ? (config as ImageConfig) : hostPlatform());
    return [{ id: only ?? formatPlatform(platform), platform }];
  }
  const list = jsonOf<{ Platforms?: { ID?: string; Platform?: Partial<Platform> }[] }>(
    result,
    'refs.platforms',
  );
  const named = (list?.Platforms ?? []).map(({ ID, Platform: platform }) => {
    if (!ID) throw fail('invalid', 'frontend', 'invalid empty platform key for exporter');
    if (!platform?.os || !platform.architecture) {
      throw fail('invalid', 'frontend', `invalid platform value of ${ID} for exporter`);
    }
    return { id: ID, platform: normalizePlatform(platform as Platform) };
  });
  if (named.length === 0) throw fail('invalid', 'frontend', 'invalid empty platforms index for exporter');
  if (result.refs === undefined && named.length > 1) {
    throw fail('invalid', 'frontend', 'number of platforms does not match references');
  }
  return named;
}

/**
 * The config of a tree. A config that exporters of images cannot use is passed on, so that they refuse it. A config
 * that does not say its platform gets the tree's.
 */
function configOf(result: BridgeResult, id: string, platform: Platform): ImageConfig {
  const own = `containerimage.config/${id}`;
  const key = hasBytes(result, own) ? own : 'containerimage.config';
  const made: ImageConfig = { ...normalizePlatform(platform), rootfs: { type: 'layers', diff_ids: [] } };
  // Without a config, as an image of plain LLB has it.
  if (!hasBytes(result, key)) return { ...made, config: { Env: defaultEnv(platform.os), WorkingDir: '/' } };
  const given = jsonOf<ImageConfig | null>(result, key) as ImageConfig | null;
  const isPartial = given !== null && typeof given === 'object' && !Array.isArray(given);
  if (!isPartial || given.os || given.architecture) return given as ImageConfig;
  return { ...made, ...given };
}

function hasBytes({ metadata }: BridgeResult, key: string): boolean {
  return Object.hasOwn(metadata, key) && (metadata[key]?.length ?? 0) > 0;
}

function jsonOf<T>(result: BridgeResult, key: string): T | undefined {
  const bytes = Object.hasOwn(result.metadata, key) ? result.metadata[key] : undefined;
  if (bytes === undefined || bytes.length === 0) return undefined;
  const excess = documentExcess(bytes);
  if (excess !== undefined) {
    throw fail('exhausted', 'frontend', `the result's metadata ${key} has ${excess}`);
  }
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as T;
  } catch (cause) {
    throw fail('invalid', 'frontend', `the result's metadata ${key} is no JSON`, { cause });
  }
}
