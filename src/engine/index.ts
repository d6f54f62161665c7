/**
 * The engine, and a build on it from request to result. A `BuildRequest` says what is built, and `runBuild` builds it.
 */

export { bothGiven } from './bridge/bridge.ts';
export type { Frontend, NamedFrontends } from './bridge/types.ts';
export { runBuild } from './build.ts';
export { dockerfileBuild, dockerfileOptions } from './dockerfile-build.ts';
export {
  type BucketOptions,
  type Engine,
  type EngineOptions,
  type LimitOptions,
  openEngine,
  type RegistryOptions,
} from './engine.ts';
export { checkEntitlementNames, entitlementNames } from './entitlements.ts';
export { client, type OpenGateway, withGateway } from './frontends/client.ts';
export { definition } from './frontends/definition.ts';
export type { InspectedFailure, InspectedResult } from './frontends/inspected.ts';
export { type LinkedRequests, type LinkResult, linksOf, withLinks } from './frontends/linked.ts';
export { named } from './frontends/named.ts';
export { checkOptionsSize } from './frontends/options-size.ts';
export { allowedFrontends, type FrontendRule } from './frontends/table.ts';
export { checksVertex, warningEvent } from './frontends/warning-event.ts';
export { recordStatus } from './gateway/encode.ts';
export { Gateway, type GatewayService } from './gateway/gateway.ts';
export { lookAt, withMessages } from './gateway/looked-at.ts';
export { callValues, encodingErrors } from './gateway/serve.ts';
export type { SolveDetail } from './gateway/solve-failure.ts';
export { isImageOutput, squashAttrs, withImageAttrs } from './outputs.ts';
export { defaultRoot } from './root.ts';
export { noProcessSandboxFromEnv, type SandboxOptions, usernsRemapFromEnv } from './sandbox-options.ts';
export type { SharedCacheOptions } from './shared-cache.ts';
export { type SignOptions, signedOutputs } from './sign-outputs.ts';
export { type OperatorLimits, operatorLimits, stepLimitsFromEnv } from './step-limits.ts';
export { operatorRights, stepRightsFromEnv } from './step-rights.ts';
export {
  type ImageStore,
  imageStores,
  parseImageStore,
  parseSnapshotter,
  type StoreOptions,
  snapshotters,
} from './store-options.ts';
export { containerdOf, otherStore, stateFolder } from './stores.ts';
export { explainFromEnv, type TellOptions } from './tell-options.ts';
export type { BuildOptions, BuildRequest, BuildResult, Built, OutputSpec } from './types.ts';
export { takeWishes, wishOptions } from './wishes.ts';
