/** Small parts of op messages that several ops share. */
import { create } from '@bufbuild/protobuf';
import type { Platform } from '../oci/types.ts';
import {
  type Platform as PbPlatform,
  PlatformSchema,
  type WorkerConstraints,
  WorkerConstraintsSchema,
} from '../pb/solver/pb/ops_pb.js';

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
