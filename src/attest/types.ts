/** The contract of attestations: the facts about a build's result, and the predicates made of them. */

import type { ViewSpec } from '../fs/index.ts';
import type { Descriptor, Digest } from '../oci/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import type { MachineSample, StepUsage } from '../progress/index.ts';
import type { UsedSource } from '../solver/index.ts';

/** The parameters of a provenance. */
export interface ProvenanceOptions {
  /** `min` leaves out build arguments, labels, secrets' names and steps. */
  mode: 'min' | 'max';
  /** Version of SLSA's predicate. */
  version: 'v1' | 'v0.2';
  /** URL of the builder; '' when it is not given. */
  builderId: string;
  /** The user's word that the same build gives the same bytes. */
  reproducible: boolean;
  /** Goes only with outputs whose layers are packed anyway. */
  inlineOnly: boolean;
  /** Name of the file in outputs that are files. */
  filename: string;
  /** Adds what each step, and the machine, has used of processors, memory and disks. */
  captureUsage: boolean;
  /** Fails the build when a source has no digest. */
  completeMaterials: boolean;
}

/** A predicate about a result whose bytes are not known yet. */
export interface Attestation {
  predicateType: string;
  /** Name of the file in outputs that are files. */
  filename: string;
  inlineOnly: boolean;
  /** What the statement is about; default: the result. */
  subjects?: readonly StatedSubject[];
  /** The file that the predicate is made of, where a snapshot of the store has it; default: it is another one each time. One statement is remembered for each path. */
  madeOf?: { snapshot: string; path: string };
  /** Makes the predicate: an object, or its JSON as it is to stand there. `image`: the image that the statement is about. */
  predicate(image?: StatedImage): Promise<object | Buffer>;
}

/** A subject that a frontend names: the result itself, under a further name where one is given, or something else. */
export type StatedSubject =
  | { kind: 'self'; name?: string }
  | { kind: 'raw'; name: string; digest: Record<string, string> };

/** The image that a statement is about. */
export interface StatedImage {
  /** Its layers, lowest first. */
  layers: readonly Descriptor[];
  /** Its files as layer folders; undefined where there are none. */
  view?(): Promise<ViewSpec | undefined>;
}

/** A subject of a statement: a name, and digests by their algorithms. */
export interface Subject {
  name: string;
  digest: Record<string, string>;
}

/** A secret or an ssh agent that a step asks for. */
export interface Needed {
  id: string;
  optional: boolean;
}

/** A request to a frontend. */
export interface AskedFacts {
  /** Name of the frontend; '' when the client sent LLB, or directed the build itself. */
  frontend: string;
  /** Its options in BuildKit's words. */
  options: Readonly<Record<string, string>>;
  /** The requests for the trees that were handed to the frontend, by the trees' names. */
  inputs?: Readonly<Record<string, AskedFacts>>;
}

/** The facts about one result of a build. */
export interface BuildFacts extends AskedFacts {
  /** ID of the build; all of its results have the same. */
  invocationId: string;
  /** ms since the epoch */
  startedAt: number;
  finishedAt: number;
  /** Platform of this machine, `linux/amd64`. */
  builderPlatform: string;
  /** Further facts about the environment, as the operator gives them. */
  environment?: Readonly<Record<string, unknown>>;
  /** The request that began the build, when it came over BuildKit's API; the result's own request may be another one. */
  root?: AskedFacts;
  /** The sources that the result is made of, and those that the frontend has read. */
  sources: readonly UsedSource[];
  /** Names of the client's folders that were named in requests, whether they were read or not. */
  offered: readonly string[];
  /** Tells whether the build resolved an image's name to a digest, so that the user need not have written the digest. */
  isResolved(name: string, digest: Digest): boolean;
  secrets: readonly Needed[];
  ssh: readonly Needed[];
  /** Tells whether a step had a network that nobody looked into. */
  usesNetwork: boolean;
  /** What steps asked for by the proxies of their networks, and what of it no digest tells; undefined: there were none. */
  proxy?: {
    materials: readonly { uri: string; digest: string }[];
    incomplete: readonly { op: string; name: string; method?: string; uri?: string; reason: string }[];
  };
  /** Tells whether a step solved a graph of its own, whose steps are not known here. */
  isOpaque: boolean;
  definition: Definition | undefined;
  /** The layers of image sources, by the sources' vertices. */
  imageLayers: ReadonlyMap<Digest, readonly Descriptor[]>;
  /** What steps, by their vertices, and the machine have used; undefined when it was not recorded. */
  usage?: { steps: ReadonlyMap<Digest, StepUsage>; machine: readonly MachineSample[] };
}
