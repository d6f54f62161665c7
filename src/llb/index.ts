/** LLB: ops, digests, definitions, and the builder of states that makes them. */
export { checkCaps, llbCaps } from './caps.ts';
export { definitionJson } from './definition-json.ts';
export { fromDefinition } from './from-definition.ts';
export { given, outputOf } from './given.ts';
export { type GoForm, type GoValue, goJson, goMessage } from './go-json.ts';
export { type DeviceRewrite, type Graph, isProxied, loadGraphInTurns, ProxyMode } from './graph.ts';
export { ignoringCache } from './ignoring-cache.ts';
export {
  checkLimits,
  type LimitOption,
  limitNames,
  limitOptions,
  limitSteps,
  parseLimits,
  type StepLimits,
} from './limits.ts';
export {
  type CopyOptions,
  copy,
  type FileStep,
  git,
  http,
  image,
  type LocalOptions,
  lazy,
  local,
  marshal,
  merge,
  mkdir,
  mkfile,
  type OpOptions,
  ociLayout,
  type ProxyEnv,
  type RunMount,
  type RunOptions,
  type RunSecret,
  type RunSsh,
  State,
  scratch,
  upload,
  uploadedAside,
} from './llb.ts';
export { pbPlatform, platformOf } from './message.ts';
export { nameNetwork, networkNameOf, parseNetwork } from './named-network.ts';
export { locationsJson, opJson } from './op-json.ts';
export { listExcess } from './op-size.ts';
export { outputCount } from './outputs.ts';
export { absolutePath, normalPath } from './paths.ts';
export {
  BuildOpSchema,
  CacheSharingOpt,
  clone,
  create,
  DefinitionSchema,
  ExecOpSchema,
  FileActionSchema,
  fromBinary,
  MountContentCache,
  MountType,
  NetMode,
  OpSchema,
  SecurityMode,
  SourceOpSchema,
  toBinary,
} from './pb.ts';
export { parseSourcePolicy } from './policy-file.ts';
export { scan } from './scan.ts';
export { canonicalSource, type SourceRewrite, sourceRewrite, sourceRewriteInTurns } from './source-policy.ts';
export { checkUlimit, parseUlimit, type Ulimit, ulimitsOf } from './ulimits.ts';
export { Variables } from './variables.ts';
export type { Edge, Vertex } from './vertex.ts';
