/** The door of a frontend: what it may ask of the engine, and what it gives back. */
import type { SourceLocation } from '../errors/error.ts';
import type { Descriptor, Digest, ImageConfig, Platform } from '../oci/types.ts';

/** An image's config, looked up without pulling its layers. */
export interface ResolvedImage {
  /** Normalized reference pinned by digest, or as given when it is only known locally. */
  ref: string;
  digest: Digest;
  config: ImageConfig;
  /** The platform-specific manifest. */
  manifest?: Descriptor;
}

export interface ImageResolver {
  resolveImage(
    ref: string,
    options: {
      platform: Platform;
      pull: boolean /** Progress line. */;
      logName: string;
      location?: SourceLocation;
    },
  ): Promise<ResolvedImage>;
}

/** One finding of a build check. Names, texts and urls are Dockerfile's official ones. */
export interface LintWarning {
  rule: string;
  description: string;
  message: string;
  url: string;
  location: SourceLocation;
}
