import { formatPlatform } from '../oci/platform.ts';
import type { PlatformResult } from './types.ts';

/** The folder of each platform's files, `linux_arm_v7`; '' when there is one platform and it is not asked for. */
export function platformFolders(results: readonly PlatformResult[], split: boolean | undefined): string[] {
  const apart = split ?? results.length > 1;
  return results.map(({ platform, id = formatPlatform(platform) }) => (apart ? id.replaceAll('/', '_') : ''));
}
