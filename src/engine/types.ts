/** The door of build: one build from request to result. */
import type { OutputSink, StoredOutput } from '../exporter/types.ts';
import type { DockerfileRequest, LintWarning } from '../frontend/types.ts';
import type { Descriptor, Digest } from '../oci/types.ts';
import type { CacheSpec } from '../remote-cache/types.ts';

export interface OutputSpec {
  type: 'image' | 'oci' | 'docker' | 'local' | 'tar' | 'cacheonly';
  /** Attributes as in buildx: name, dest, push, compression, compression-level, force-compression, oci-mediatypes, rewrite-timestamp, annotation.*, tar … */
  attrs: Record<string, string>;
  /** Where files or an archive go. */
  sink?: OutputSink;
  /** Images that lose their last name to this one go, as with buildkitd; else they stay as `<none>`, as with dockerd. */
  forgetsReplaced?: boolean;
}

export interface BuildOptions extends DockerfileRequest {
  tags: string[];
  outputs: OutputSpec[];
  /** Caches from elsewhere to look steps up in, beside the local one (`--cache-from`). */
  cacheFrom?: readonly CacheSpec[];
  /** Where to write the build's cache for others (`--cache-to`). */
  cacheTo?: readonly CacheSpec[];
  /** Only run the build checks. */
  check: boolean;
  /** Entitlements granted: `network.host`, `security.insecure`. */
  allow: string[];
}

export interface BuildResult {
  /** Image ID (config digest) of the (first) image, when an image was made. */
  imageId?: Digest;
  /** Descriptor of the manifest or index. */
  descriptor?: Descriptor;
  /** Keys as buildx writes them in --metadata-file: `containerimage.digest`, `containerimage.config.digest`, `image.name`, … */
  metadata: Record<string, unknown>;
  warnings: LintWarning[];
  /** Total bytes of the image's layers, uncompressed. */
  size?: number;
  /** Images that were put into this process's store. */
  stored?: readonly StoredOutput[];
}
