/** What the engine does for a frontend: resolving images and opening solved trees. */

import type { FrontendHost, FrontendTree, ResolvedImage } from '../frontend/types.ts';
import { openView } from '../fs/open.ts';
import { readFileIn } from '../fs/read.ts';
import { resolvePath } from '../fs/resolve.ts';
import { pbPlatform } from '../llb/message.ts';
import { formatPlatform } from '../oci/platform.ts';
import type { Job } from '../solver/job.ts';
import { resolveImageConfig } from '../source/image.ts';
import type { Ref } from '../store/ref.ts';
import { imageAfter, type SourcePolicy } from './bridge/image-policy.ts';
import type { Engine } from './engine.ts';

const maxFile = 16 * 1024 * 1024;

/** The host of one build. What it fetches is kept by `lease`. */
export function frontendHost(
  engine: Engine,
  job: Job,
  lease: string,
  policy: SourcePolicy = {},
): FrontendHost {
  const resolved = new Map<string, Promise<ResolvedImage>>();
  return {
    resolveImage(ref, options) {
      const key = `${ref} ${formatPlatform(options.platform)} ${options.pull} ${options.ociLayoutStore ?? ''}`;
      let found = resolved.get(key);
      if (found === undefined) {
        const { ociLayoutStore } = options;
        found = job.inVertex(options.logName, async () =>
          resolveImageConfig(
            engine,
            ociLayoutStore === undefined ? await imageAfter(policy, ref, pbPlatform(options.platform)) : ref,
            {
              platform: options.platform,
              mode: options.pull ? 'pull' : 'default',
              lease,
              session: job.session,
              signal: job.signal,
              ociLayoutStore,
            },
          ),
        );
        resolved.set(key, found);
      }
      return found.catch((err) => {
        if (err instanceof Error && 'source' in err) err.source ??= options.location;
        throw err;
      });
    },
    async open(definition) {
      const { vertices, output } = await job.load(definition);
      const [ref] = output === undefined ? [] : await engine.solver.solve(job, vertices, [output]);
      return openTree(ref ?? engine.refs.empty(), job, lease);
    },
  };
}

async function openTree(ref: Ref, job: Job, lease: string): Promise<FrontendTree> {
  const view = openView(
    await ref.view({
      lease,
      signal: job.signal,
      credentials: (host) => job.session.credentials(host),
    }),
  );
  return {
    async readFile(path, max = maxFile) {
      return readFileIn(view, path, max);
    },
    async stat(path) {
      return view.lstat(resolvePath(view, path, { followLast: true }));
    },
    async readdir(path) {
      return view.readdir(resolvePath(view, path, { followLast: true }));
    },
  };
}
