/** Platforms in queries. Pure. */
import { parsePlatform } from '../../../oci/platform.ts';
import type { Platform } from '../../../oci/types.ts';
import { apiError } from './errors.ts';

/** An OCI platform as JSON (`{"os":"linux","architecture":"arm64"}`) or `linux/arm64`; undefined for ''. Throws `invalid`. */
export function readPlatform(text: string): Platform | undefined {
  if (text === '') return undefined;
  if (!text.startsWith('{')) return parsePlatform(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw apiError('invalid', `invalid platform: ${text.slice(0, 100)}`);
  }
  const { os, architecture, variant } = value as Record<string, unknown>;
  if (typeof os !== 'string' || typeof architecture !== 'string') {
    throw apiError('invalid', 'invalid platform: want os and architecture');
  }
  return parsePlatform(
    typeof variant === 'string' && variant !== ''
      ? `${os}/${architecture}/${variant}`
      : `${os}/${architecture}`,
  );
}
