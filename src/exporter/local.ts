/**
 * `type=local`: writes the files into a folder, here or at the client, with a folder for each platform when there are
 * several.
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../errors/index.ts';
import type { ViewSpec } from '../fs/index.ts';
import { runTask } from '../workers/index.ts';
import { epochOf, parseFileAttrs } from './attrs.ts';
import { withPlatformTrees } from './platform-folders.ts';
import type { Exporter } from './types.ts';

/** Makes the exporter. Throws `invalid` for an unknown attribute. */
export function localExporter(attrs: Record<string, string>): Exporter {
  const want = parseFileAttrs('local', attrs);
  return {
    title: 'exporting to client directory',
    async export({ results, sourceDateEpoch }, ctx) {
      const { sink, progress, signal } = ctx;
      if (sink === undefined || ('tar' in sink && !('send' in sink))) {
        throw fail('invalid', 'export', 'output type=local has nowhere to go: give it dest=FOLDER');
      }
      const epoch = epochOf(want.sourceDateEpoch, sourceDateEpoch);
      const timestampNs = epoch === undefined ? undefined : BigInt(epoch) * 1_000_000_000n;
      return withPlatformTrees(results, want, ctx, async (trees) => {
        if ('send' in sink) {
          // With mode=delete it is the client that removes what is not sent.
          const onBytes = (current: number) => progress.report('copying files', { current, total: 0 });
          onBytes(0);
          const sent = joined(trees);
          const { bytes } = await sink.send(sent, { timestampNs, onBytes, signal });
          progress.report('copying files', { current: bytes, total: bytes, done: true });
          return { metadata: {} };
        }
        await Promise.all(
          trees.map(async ({ spec, folder, name }) => {
            const status = trees.length > 1 ? `copying files ${name}` : 'copying files';
            progress.report(status, { current: 0, total: 0 });
            const dest = join(sink.files, folder);
            const remove = want.mode === 'delete';
            const { bytes } = await runTask('fs.export', { spec, dest, timestampNs, remove }, { signal });
            progress.report(status, { current: bytes, total: bytes, done: true });
          }),
        );
        // What a platform's folder holds is done; the destination itself holds nothing but these.
        const folders = trees.map(({ folder }) => folder);
        if (want.mode === 'delete' && folders[0] !== '') await keepOnly(sink.files, folders);
        return { metadata: {} };
      });
    },
  };
}

/** Joins the trees of each folder: what is sent must come in order. */
function joined(trees: readonly { spec: ViewSpec; folder: string }[]): { spec: ViewSpec; prefix: string }[] {
  const byFolder = Map.groupBy(trees, ({ folder }) => folder);
  return [...byFolder].map(([prefix, list]) => {
    const [first, ...more] = list.map(({ spec }) => spec);
    return {
      spec: more.length === 0 ? (first as ViewSpec) : { kind: 'merged', of: [first as ViewSpec, ...more] },
      prefix,
    };
  });
}

async function keepOnly(dir: string, names: readonly string[]): Promise<void> {
  for (const name of await readdir(dir)) {
    if (!names.includes(name)) await rm(join(dir, name), { recursive: true, force: true });
  }
}
