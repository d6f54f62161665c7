/** The contract of bake: files that say what is built, as `docker buildx bake` reads them (docs/bake-reference.md there). */

/** One output, cache, secret or attestation, by its fields: `{ type: 'registry', ref: 'app:cache' }`. */
export type Entry = Readonly<Record<string, string | boolean>>;

/** An ssh agent or keys for a build. */
export interface SshEntry {
  id: string;
  paths?: readonly string[];
}

/** The texts of a map; null leaves the value that is there already. */
export type TextMap = Readonly<Record<string, string | null>>;

/** A target: what one build is asked for. The names are those in bake files. */
export interface Target {
  description?: string;
  inherits?: readonly string[];
  annotations?: readonly string[];
  attest?: readonly Entry[];
  context?: string;
  contexts?: Readonly<Record<string, string>>;
  dockerfile?: string;
  'dockerfile-inline'?: string;
  args?: TextMap;
  labels?: TextMap;
  tags?: readonly string[];
  'cache-from'?: readonly Entry[];
  'cache-to'?: readonly Entry[];
  target?: string;
  secret?: readonly Entry[];
  ssh?: readonly SshEntry[];
  platforms?: readonly string[];
  output?: readonly Entry[];
  pull?: boolean;
  'no-cache'?: boolean;
  network?: string;
  'no-cache-filter'?: readonly string[];
  'shm-size'?: string;
  ulimits?: readonly string[];
  resources?: TextMap;
  call?: string;
  entitlements?: readonly string[];
  'extra-hosts'?: TextMap;
  policy?: readonly Entry[];
}

/** A group: targets and groups that are built together. */
export interface Group {
  description?: string;
  targets: readonly string[];
}

/** A variable of a file, for `--list=variables`. */
export interface VariableInfo {
  name: string;
  description?: string;
  /** The type that the file gives it. */
  type?: string;
  /** The value, as text; missing for null. */
  value?: string;
}

/** What files have in them, before anything is chosen. */
export interface Definitions {
  groups: Map<string, Group>;
  targets: Map<string, Target>;
  variables: VariableInfo[];
}

/** The targets that are going to be built, and their groups, as `--print` shows them. */
export interface Plan {
  groups: Map<string, Group>;
  targets: Map<string, PlannedTarget>;
}

/** A target with everything that it inherits. */
export interface PlannedTarget extends Target {
  context: string;
  dockerfile: string;
  /** Whether it is built only because another target is made from it. */
  linked: boolean;
}
