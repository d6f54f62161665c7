/** The capabilities of LLBBridge, by BuildKit's names (frontend/gateway/pb/caps.go). */
import { create } from '@bufbuild/protobuf';
import { llbCaps } from '../../llb/index.ts';
import { type PongResponse, PongResponseSchema } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { WorkerRecord } from '../../pb/moby/buildkit/v1/types/worker_pb.js';

const frontendCaps = [
  ...['solve.base', 'solve.inlinereturn', 'resolveimage', 'resolveimage.resolvemode', 'readfile'],
  ...['return', 'returnmap', 'readdir', 'statfile', 'importcaches', 'proto.refarray', 'reference.output'],
  ...['frontend.inputs', 'gateway.solve.metadata', 'gateway.exec', 'gateway.exec.extrahosts'],
  ...['gateway.exec.secretenv', 'gateway.exec.signals', 'gateway.exec.filesystem', 'frontend.caps'],
  ...['gateway.solve.evaluate', 'gateway.evaluate', 'gateway.warnings', 'reference.attestations'],
  ...['source.metaresolver', 'source.metaresolver.image.attestations'],
];

const listed = (ids: readonly string[]) => ids.map((ID) => ({ ID, Enabled: true }));

/** The answer to Ping: the capabilities, and the workers. */
export function pong(workers: readonly WorkerRecord[]): PongResponse {
  return create(PongResponseSchema, {
    FrontendAPICaps: listed(frontendCaps),
    LLBCaps: listed(llbCaps),
    Workers: [...workers],
  });
}
