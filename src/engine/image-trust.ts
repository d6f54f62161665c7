/** The image policy of an engine. It is loaded when the first image asks for it. */
import { join } from 'node:path';
import type { ImageTrust } from '../distribution/index.ts';
import type { RegistryClient } from '../registry/index.ts';

/** An image policy that can be looked at before it is asked for anything. */
export interface LateImageTrust extends ImageTrust {
  /** Reads the policy. Throws `invalid` with line and column, `denied` for a file that anyone may write. */
  load(): Promise<void>;
}

/** The judge that a policy file describes; undefined without one. `root` is the folder of the engine's state. */
export function imageTrust(
  file: string | undefined,
  registry: RegistryClient,
  root: string,
): LateImageTrust | undefined {
  if (file === undefined) return undefined;
  let policy: Promise<import('../signing/image-policy.ts').ImagePolicy> | undefined;
  const opened = () => {
    policy ??= import('../signing/image-policy.ts').then(
      ({ ImagePolicy }) => new ImagePolicy(file, registry, join(root, 'trust')),
    );
    return policy;
  };
  return {
    async load() {
      await (await opened()).rules();
    },
    check: async (...args) => (await opened()).check(...args),
  };
}
