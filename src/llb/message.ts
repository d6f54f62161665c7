/** Small parts of op messages that several ops share. */

import { hostPlatform, normalizePlatform, type Platform } from '../oci/index.ts';
import type { Platform as PbPlatform, WorkerConstraints } from '../pb/solver/pb/ops_pb.js';
import { create, PlatformSchema, WorkerConstraintsSchema } from './pb.ts';

export function pbPlatform(platform: Platform): PbPlatform {
  return create(PlatformSchema, {
    OS: platform.os,
    Architecture: platform.architecture,
    Variant: platform.variant ?? '',
    OSVersion: platform['os.version'] ?? '',
    OSFeatures: platform['os.features'] ?? [],
  });
}

/** The platform that a message names; this host's when it names none. */
export function platformOf(platform: PbPlatform | undefined): Platform {
  if (platform === undefined || platform.OS === '') return hostPlatform();
  return normalizePlatform({
    os: platform.OS,
    architecture: platform.Architecture,
    variant: platform.Variant,
    'os.version': platform.OSVersion,
    'os.features': platform.OSFeatures,
  });
}

/** The empty constraints. BuildKit's clients always state them, and equal ops get equal digests only if we do too. */
export function constraints(): WorkerConstraints {
  return create(WorkerConstraintsSchema, {});
}
