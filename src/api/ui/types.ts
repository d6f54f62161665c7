/**
 * The data of `/ui/api/v1`, as JSON. The page and others' programs read it; docs/ui-api.md describes it. All times are
 * ms since the epoch, sizes are bytes.
 */

export type BuildState = 'running' | 'completed' | 'failed' | 'canceled';

/** A build in a list. */
export interface BuildSummary {
  ref: string;
  /** The images' names, or the context, with the target. */
  name: string;
  state: BuildState;
  /** Who started it: `uid 1000`, `certificate …`, `token ci`, `subject (issuer)`. */
  who: string;
  startedAt: number;
  completedAt?: number;
  /** The URL of the repository that it is built from; missing for a folder. */
  repository?: string;
  context?: string;
  dockerfile: string;
  target?: string;
  platforms: string[];
  images: string[];
  /** The digest of the image. */
  digest?: string;
  frontend: string;
  steps: { total: number; completed: number; cached: number };
  warnings: number;
  error?: string;
  pinned: boolean;
}

/** What a step's processes have used of the machine in all. What the machine does not count is missing. */
interface StepUse {
  /** Processor time in ms. */
  cpuMs?: number;
  /** Bytes of memory at most. */
  memoryPeak?: number;
  /** Bytes from and to disks. */
  readBytes?: number;
  writeBytes?: number;
}

/** Lines of one of a build's files. */
export interface Place {
  /** The file's place in `BuildDetail.files`. */
  file: number;
  /** The first and the last line of each range, from 1. */
  lines: [from: number, to: number][];
}

/** A transfer or another part of a step. */
export interface Transfer {
  id: string;
  current: number;
  /** 0: not known. */
  total: number;
  startedAt?: number;
  completedAt?: number;
}

/** A step of a build: a vertex of its graph. */
export interface Step {
  digest: string;
  /** The digests of the steps that it is made of. */
  inputs: string[];
  name: string;
  startedAt?: number;
  completedAt?: number;
  cached?: true;
  error?: string;
  /** The name of the group that it is shown in. */
  group?: string;
  /** Why it was not cached. */
  why?: string;
  /** How many lines it has printed. */
  lines: number;
  transfers: Transfer[];
  place?: Place;
  use?: StepUse;
}

export interface BuildWarning {
  step: string;
  short: string;
  detail: string[];
  url?: string;
  place?: Place;
}

export interface SourceFile {
  name: string;
  text: string;
}

/** Why a build failed. */
export interface BuildFailure {
  message: string;
  hop?: string;
  hint?: string;
  exitCode?: number;
  /** The digest of the step. */
  step?: string;
  place?: Place;
}

export interface Attestation {
  digest: string;
  /** The predicate's type: `https://slsa.dev/provenance/v1`. */
  type: string;
  size: number;
  /** The digest of the image that it is about, where it is kept with the image. */
  about?: string;
}

/** All of a build but its log. */
export interface BuildDetail extends BuildSummary {
  stepList: Step[];
  files: SourceFile[];
  warningList: BuildWarning[];
  failure?: BuildFailure;
  buildArgs: Record<string, string>;
  labels: Record<string, string>;
  outputs: { type: string; attrs: Record<string, string> }[];
  /** What the outputs answered: digests, names. */
  response: Record<string, string>;
  results: { digest: string; mediaType: string; size: number }[];
  attestations: Attestation[];
}

/** What has changed of a running build: whole steps, and the lists that have grown. */
export interface BuildChange {
  steps?: Step[];
  files?: SourceFile[];
  warnings?: BuildWarning[];
}

/** What differs between the steps of two builds, in explain's words. */
export interface Compared {
  /** By their names, those that ran in one of the builds. */
  steps: { step: string; lines: string[] }[];
}

/** Lines of a step's output, without their ends. */
export interface LogLines {
  /** How many lines there are by now. */
  total: number;
  /** The number of the first of `lines`, from 0. */
  from: number;
  lines: LogLine[];
}

export interface LogLine {
  text: string;
  /** 1 stdout, 2 stderr */
  stream: 1 | 2;
  at: number;
}

/** The lines in which a text occurs. */
export interface LogMatches {
  /** Numbers of lines, from 0. */
  lines: number[];
  /** Whether there are more of them. */
  more: boolean;
}

/** Who asks, and what they may do. */
export interface Me {
  who: string;
  scopes: string[];
  /** Missing for who may not see it (`system:read`). */
  version?: string;
  /** ms since the epoch, by the daemon's clock. */
  now: number;
  /** Whether there are builds of the past. */
  history: boolean;
}

/** An image in a list. */
export interface ImageLine {
  /** The digest of the config. */
  id: string;
  /** The names that people write; none of an image that has lost its names. */
  names: string[];
  /** The digest of the manifest or the index. */
  target: string;
  /** The bytes of the layers' files, or of the blobs of those that are not unpacked. */
  size: number;
  created?: number;
  /** Those that are here. */
  platforms: string[];
}

export interface ImageList {
  store: { kind: string; snapshotter: string };
  images: ImageLine[];
}

/** One image, for one of its platforms. */
export interface ImageDetail extends ImageLine {
  /** The platform that is described. */
  platform: string;
  /** The digest of its manifest. */
  manifest: string;
  author?: string;
  /** How containers of it run: `Entrypoint`, `Cmd`, `Env`, `User`, as in the image's config. */
  config: Record<string, unknown>;
  layers: ImageLayer[];
  /** The oldest first. */
  history: ImageStep[];
  attestations: Attestation[];
}

export interface ImageLayer {
  digest: string;
  diffId: string;
  mediaType: string;
  /** Bytes of the blob. */
  blob: number;
  /** Bytes of the files, where the layer is unpacked. */
  size?: number;
}

/** A step of the image's history. */
export interface ImageStep {
  createdBy: string;
  comment?: string;
  created?: number;
  /** The place of its layer in `layers`; missing of a step without one. */
  layer?: number;
}

/** What each layer of an image has in all; null for a layer that is not here. */
export interface LayerSums {
  layers: (FileSums | null)[];
}

/** What a layer has in a folder. */
export interface LayerFolder {
  /** How many lines there are, and the number of the first of `files`, from 0. */
  total: number;
  from: number;
  files: LayerFile[];
}

/** Files that a layer adds or changes, their bytes, those of them that later layers hide, and the bytes that it removes. */
export interface FileSums {
  files: number;
  bytes: number;
  wasted: number;
  removed: number;
}

/** A file, folder or link as a layer has it. */
export interface LayerFile {
  name: string;
  type: string;
  /** `same`: a folder that is there because of what is in it. */
  state: 'added' | 'changed' | 'removed' | 'same';
  /** Of a removed path, the bytes of all files that went. */
  size: number;
  mode: number;
  uid: number;
  gid: number;
  /** The target of a symlink; of a hard link, the name that has the bytes. */
  link?: string;
  /** The later layer that overwrites or removes it. */
  goneAt?: number;
  /** Of a folder: what is below it. */
  below?: FileSums;
}

/** What the cache holds. */
export interface DiskUsage {
  /** The disk that the store is on. */
  disk: { size: number; free: number };
  /** Sums of all records that fit, by their kinds, the largest first. */
  kinds: DiskKind[];
  records: DiskRecord[];
  /** Whether there are more records that fit. */
  more: boolean;
  /** The rules by which records are taken out after builds, in their order; empty: none ever is. */
  policy: DiskRule[];
}

/** Records of one kind. */
export interface DiskKind {
  /** `regular`, `source.local`, `source.git.checkout`, `exec.cachemount`, `frontend`, `internal` */
  type: string;
  records: number;
  size: number;
  /** The bytes of them that running builds hold, and that images use. */
  inUse: number;
  shared: number;
}

/** A rule of the garbage collector; sizes in bytes. */
export interface DiskRule {
  all?: boolean;
  filters?: readonly string[];
  /** ms */
  unusedFor?: number;
  reservedSpace?: number;
  maxUsedSpace?: number;
  minFreeSpace?: number;
}

/** One record of the cache, or a folder that is kept between builds. */
export interface DiskRecord {
  id: string;
  type: string;
  description: string;
  size: number;
  createdAt: number;
  lastUsedAt: number;
  usageCount: number;
  /** Why it is kept: a running build holds it, an image uses it, or only for builds to come. */
  keptBy: 'build' | 'image' | 'policy';
  /** The bytes that may come into the cache before this record is taken out. Missing where the rules are not so simple. */
  room?: number;
  /** What the build was made from that made it, and the names of its images. */
  project?: string;
  images?: string[];
  /** The ID of a cache mount. */
  mount?: string;
}

/** What a prune has removed or, as a dry run, would remove. */
export interface PruneAnswer {
  records: number;
  /** The bytes that the records are listed with. */
  size: number;
  /** The bytes that the disk gets back; layers that images or other records need stay. */
  freed: number;
}

/** The body of an answer that is an error. */
export interface ApiFailure {
  error: { code: string; message: string; hop?: string; hint?: string };
}
