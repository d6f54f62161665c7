/** The host that the engine gives to a frontend: it resolves images and opens solved trees. */
import { setImmediate } from 'node:timers/promises';
import { findImage } from '../../distribution/index.ts';
import { DrydockError } from '../../errors/index.ts';
import type { FrontendHost, FrontendTree, ResolvedImage } from '../../frontend/index.ts';
import { bringFiles, type FsView, openView, readFileIn, resolvePath } from '../../fs/index.ts';
import { pbPlatform } from '../../llb/index.ts';
import { formatPlatform } from '../../oci/index.ts';
import type { Job } from '../../solver/index.ts';
import { resolveImageConfig } from '../../source/index.ts';
import type { Ref } from '../../store/index.ts';
import { inTurns } from '../../workers/index.ts';
import type { Bridge } from '../bridge/bridge.ts';
import { imageAfter } from '../bridge/image-policy.ts';

const maxFile = 16 * 1024 * 1024;

/** The host of one build. The build's lease keeps the content that the host fetches. */
export function frontendHost({ engine, job, lease, rules, offered }: Bridge): FrontendHost {
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
            ociLayoutStore === undefined ? await imageAfter(rules, ref, pbPlatform(options.platform)) : ref,
            {
              platform: options.platform,
              pull: options.pull,
              lease,
              session: job.session,
              pins: job.pins,
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
    offered: (folder) => void offered.add(folder),
    async storedName(id) {
      const found = await findImage(engine.store, id).catch((err) => {
        if (err instanceof DrydockError && err.code === 'not-found') return undefined;
        throw err;
      });
      return found?.by === 'id' ? found.record.name : undefined;
    },
    // Loaded only when asked for: few builds are dated by what they are made of.
    sourceTime: (definition) => import('./source-time.ts').then((m) => m.sourceTime(engine, job, definition)),
  };
}

async function openTree(ref: Ref, job: Job, lease: string): Promise<FrontendTree> {
  const view = openView(
    await ref.view({
      lease,
      signal: job.signal,
      credentials: (host) => job.session.credentials(host),
      mayBeLazy: job.session.tenant === undefined,
    }),
  );
  return {
    async readFile(path, max = maxFile) {
      await bringFiles(view, [path], { signal: job.signal });
      return readFileIn(view, path, max);
    },
    async stat(path) {
      return view.lstat(resolvePath(view, path, { followLast: true }));
    },
    async readdir(path) {
      return inTurns(view.list(resolvePath(view, path, { followLast: true })));
    },
    newest: () => newestIn(view),
  };
}

/**
 * The time of the newest regular file, in s since 1970. Other work gets its turn while a large tree is looked through.
 */
async function newestIn(view: FsView): Promise<number | undefined> {
  let newest: bigint | undefined;
  let seen = 0;
  const pending = ['/'];
  for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
    for (const { type, path, mtimeNs } of await inTurns(view.list(dir))) {
      if (type === 'dir') pending.push(path);
      else if (type === 'file' && (newest === undefined || mtimeNs > newest)) newest = mtimeNs;
      if (++seen % 500 === 0) await setImmediate();
    }
  }
  return newest === undefined ? undefined : Number(newest / 1_000_000_000n);
}
