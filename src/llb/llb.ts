/** The typed builder of LLB: states, their sources and ops, and `marshal`, which makes a definition of them. */
export type {
  ProxyEnv,
  RunMount,
  RunOptions,
  RunSecret,
  RunSsh,
} from './exec.ts';
export {
  type CopyOptions,
  copy,
  type FileStep,
  type MkdirOptions,
  type MkfileOptions,
  mkdir,
  mkfile,
  type RmOptions,
  rm,
  symlink,
} from './file.ts';
export { type MarshalOptions, marshal } from './marshal.ts';
export { diff, merge } from './merge.ts';
export type { OpOptions } from './op.ts';
export {
  type BlobOptions,
  type GitOptions,
  git,
  type HttpOptions,
  http,
  type ImageOptions,
  image,
  imageBlob,
  type LocalOptions,
  local,
  type OciLayoutOptions,
  ociLayout,
  ociLayoutBlob,
  source,
  upload,
  uploadedAside,
} from './sources.ts';
export { ExecState, lazy, State, type StateValues, scratch } from './state.ts';
