/** The door of attestations: what is stated of a build's result, whoever writes it down and wherever it is kept. */

import type { Descriptor, Digest } from '../oci/index.ts';
import type { Definition } from '../pb/solver/pb/ops_pb.js';
import type { UsedSource } from '../solver/index.ts';

/** How a provenance is to be made. */
export interface ProvenanceOptions {
  /** `min` says nothing that a build argument, a label or a step could give away. */
  mode: 'min' | 'max';
  /** Version of SLSA's predicate. */
  version: 'v1' | 'v0.2';
  /** URL of whoever builds; '' when it is not said. */
  builderId: string;
  /** The user's word that the same build gives the same bytes. */
  reproducible: boolean;
  /** Only for outputs that are images with an index anyway. */
  inlineOnly: boolean;
  /** Name of the file in outputs that are files. */
  filename: string;
  /** Fail the build where a source cannot be told by a digest. */
  completeMaterials: boolean;
}

/** A predicate on a result, before it is known which bytes the result is. */
export interface Attestation {
  predicateType: string;
  /** Name of the file in outputs that are files. */
  filename: string;
  inlineOnly: boolean;
  /** `layers`: those of the image that the statement is of. */
  predicate(layers?: readonly Descriptor[]): Promise<object>;
}

/** Something that is stated about: a name, and the bytes by their digests. */
export interface Subject {
  name: string;
  digest: Record<string, string>;
}

/** A secret or an agent that steps of a build ask for. */
export interface Needed {
  id: string;
  optional: boolean;
}

/** What is known of one result of a build. */
export interface BuildFacts {
  /** Of the build; equal for all of its results. */
  invocationId: string;
  /** ms since the epoch */
  startedAt: number;
  finishedAt: number;
  /** Of the machine that builds, `linux/amd64`. */
  builderPlatform: string;
  /** Name of the frontend; '' where the client sent LLB. */
  frontend: string;
  /** Its options in BuildKit's words. */
  options: Readonly<Record<string, string>>;
  /** Sources that the result is made of or that the frontend has read. */
  sources: readonly UsedSource[];
  /** Whether the client was told that an image's name is at a digest: then the digest in a reference is not its user's. */
  isResolved(name: string, digest: Digest): boolean;
  secrets: readonly Needed[];
  ssh: readonly Needed[];
  /** Whether a step may have used the network. */
  usesNetwork: boolean;
  /** Whether a part of it brings sources that are not among `sources`. */
  isOpaque: boolean;
  definition: Definition | undefined;
  /** Layers that image sources are, by their vertices. */
  imageLayers: ReadonlyMap<Digest, readonly Descriptor[]>;
}
