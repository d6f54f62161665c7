/**
 * The contract of the bridge: what a frontend, or a client that is its own frontend, asks of a build and gets from it.
 */

import type { LintWarning } from '../../frontend/index.ts';
import type { SourceRewrite } from '../../llb/index.ts';
import type { Attestation } from '../../pb/moby/buildkit/v1/frontend/gateway_pb.js';
import type { Definition } from '../../pb/solver/pb/ops_pb.js';
import type { CacheSpec } from '../../remote-cache/index.ts';
import type { Bridge } from './bridge.ts';
import type { BridgeRef } from './ref.ts';

/**
 * A build as a function: it asks the bridge for whatever it needs and returns the result.
 *
 *     const app: Frontend = async (bridge) => ({ ref: bridge.ref(definition), metadata: {} });
 */
export type Frontend = (bridge: Bridge) => Promise<BridgeResult>;

/** A frontend that requests name (`dockerfile.v0`). It is called with the request that names it. */
export type NamedFrontend = (bridge: Bridge, request: BridgeRequest) => Promise<BridgeResult>;
/** The frontends that requests may name, by name. */
export type NamedFrontends = Readonly<Record<string, NamedFrontend>>;

/** A request to solve, as BuildKit's API has it: either a definition, or the name of a frontend with its options. */
export interface BridgeRequest {
  definition?: Definition;
  /** `dockerfile.v0` or `gateway.v0`; '' when there is a definition. */
  frontend: string;
  /** The frontend's options, as `docker buildx` and `buildctl --opt` give them. */
  options: Readonly<Record<string, string>>;
  /** Trees that are handed to the frontend, by name. */
  inputs: Readonly<Record<string, Definition>>;
  /** Further foreign caches in which steps are looked up. */
  cacheImports?: readonly CacheSpec[];
  /** Changes the definition's sources, before the build's own rewrite does. */
  rewrite?: SourceRewrite;
  /** Solves at once, and fails when that fails. Otherwise a tree is solved when it is first needed. */
  evaluate?: boolean;
}

/** A request to a frontend: the frontend's name, and the options in BuildKit's words. */
export interface Asked {
  frontend: string;
  options(): BridgeRequest['options'] | Promise<BridgeRequest['options']>;
  /** The requests for the trees that were handed to the frontend, by the trees' names, as far as they are known. */
  inputs?: Readonly<Record<string, Asked>>;
}

/** The result of a solve: one tree or several by name (platforms), and the frontend's metadata about them. */
export interface BridgeResult {
  /** Undefined: the empty tree. It is not looked at when there are `refs`. */
  ref?: BridgeRef;
  refs?: ReadonlyMap<string, BridgeRef | undefined>;
  /** `containerimage.config`, `refs.platforms`, `result.json` … */
  metadata: Readonly<Record<string, Uint8Array>>;
  /** The attestations, by the names of the refs. */
  attestations?: Readonly<Record<string, BridgeAttestation[]>>;
  /** The findings of our own frontend's build checks. */
  findings?: readonly LintWarning[];
  /** The frontend only answered a question, and there is nothing to export. */
  isAnswer?: boolean;
}

/**
 * BuildKit's numbers of the kinds of attestations: a predicate in a file, or a folder of statements. The generated
 * messages have them too, and take a command long to load.
 */
export const attestationKinds = { inToto: 0, bundle: 1 } as const;

/** BuildKit's numbers of the kinds of subjects: the result itself, or something with digests. */
export const subjectKinds = { self: 0, raw: 1 } as const;

/** A statement about a result, as a frontend gives it. */
export interface BridgeAttestation {
  /** The attestation's message as it came; its ref is in `ref`. */
  message: Attestation;
  ref?: BridgeRef;
}
