/** Small parts of op messages that several ops share. */

import type { Platform } from '../oci/types.ts';
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

/** BuildKit's clients always state the (empty) constraints, so equal ops only have equal digests if we do, too. */
export function constraints(): WorkerConstraints {
  return create(WorkerConstraintsSchema, {});
}
