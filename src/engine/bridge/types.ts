/** The door of bridge: what a frontend, or a client that is its own frontend, asks of a build and gets from it. */

import type { LintWarning } from '../../frontend/index.ts';
import type { SourceRewrite } from '../../llb/index.ts';
import type { Attestation } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { CacheSpec } from '../../remote-cache/index.ts';
import type { Bridge } from './bridge.ts';
import type { BridgeRef } from './ref.ts';

/** A build: whatever it asks of the bridge, and the result that comes of it. */
export type Frontend = (bridge: Bridge) => Promise<BridgeResult>;

/** A frontend that requests name, with what one of them says. */
export type NamedFrontend = (bridge: Bridge, request: BridgeRequest) => Promise<BridgeResult>;
export type NamedFrontends = Readonly<Record<string, NamedFrontend>>;

/** A solve as BuildKit's API asks for it: of a definition, or of what a frontend makes of its options. */
export interface BridgeRequest {
  definition?: Definition;
  /** `dockerfile.v0` or `gateway.v0`; '' with a definition. */
  frontend: string;
  /** The frontend's options, as `docker buildx` and `buildctl --opt` give them. */
  options: Readonly<Record<string, string>>;
  /** Trees handed to the frontend, by name. */
  inputs: Readonly<Record<string, Definition>>;
  /** Further caches to look steps up in. */
  cacheImports?: readonly CacheSpec[];
  /** What becomes of the definition's sources, besides what the build says. */
  rewrite?: SourceRewrite;
  /** Solve at once, and fail if that fails; otherwise trees are solved when they are first needed. */
  evaluate?: boolean;
}

/** What a solve gives: one tree or several by name (platforms), and what the frontend says of them. */
export interface BridgeResult {
  /** Undefined: the empty tree. Not looked at when there are `refs`. */
  ref?: BridgeRef;
  refs?: ReadonlyMap<string, BridgeRef | undefined>;
  /** `containerimage.config`, `refs.platforms`, `result.json` … */
  metadata: Readonly<Record<string, Uint8Array>>;
  /** By the refs' names. */
  attestations?: Readonly<Record<string, BridgeAttestation[]>>;
  /** What our own frontend's checks found. */
  findings?: readonly LintWarning[];
  /** The frontend only answered a question: there is nothing to export. */
  isAnswer?: boolean;
}

export interface BridgeAttestation {
  /** As it came, but for its ref. */
  message: Attestation;
  ref?: BridgeRef;
}
