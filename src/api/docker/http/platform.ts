/** Platforms in queries. Pure. */
import { DrydockError } from '../../../errors/index.ts';
import { formatPlatform, type Platform, parsePlatform } from '../../../oci/index.ts';
import { apiError } from './errors.ts';
import { parseBoundedJson } from './limits.ts';

/** An OCI platform as JSON (`{"os":"linux","architecture":"arm64"}`) or `linux/arm64`; undefined for ''. Throws `invalid`. */
export function readPlatform(text: string): Platform | undefined {
  if (text === '') return undefined;
  if (!text.startsWith('{')) return parsePlatform(text);
  let value: unknown;
  try {
    value = parseBoundedJson(text, 'platform');
  } catch (err) {
    if (err instanceof DrydockError) throw err;
    throw apiError('invalid', `invalid platform: ${text.slice(0, 100)}`);
  }
  const { os, architecture, variant, ...rest } = (value ?? {}) as Record<string, unknown>;
  const version = rest['os.version'];
  const features = rest['os.features'];
  if (!isText(os) || !isText(architecture)) {
    throw apiError('invalid', 'invalid platform: both OS and Architecture must be provided');
  }
  const platform = {
    os,
    architecture,
    variant: isText(variant) ? variant : undefined,
    'os.version': isText(version) ? version : undefined,
    'os.features': Array.isArray(features) ? features.filter(isText) : undefined,
  };
  return parsePlatform(formatPlatform(platform));
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}
