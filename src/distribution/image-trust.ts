/** The question whether an image may be used. */
import type { CredentialSource, Descriptor } from '../oci/index.ts';

/** Judges the images that builds stand on and that are pulled. */
export interface ImageTrust {
  /**
   * Throws `denied` unless an image may be used. `name` is its whole reference; `target` is what the name leads to, and
   * `manifest` the one manifest of it that is used, where it is one.
   */
  check(
    name: string,
    found: { target: Pick<Descriptor, 'digest'>; manifest?: Pick<Descriptor, 'digest'> },
    ctx: { credentials?: CredentialSource; signal?: AbortSignal; offline?: boolean },
  ): Promise<void>;
}
