/** `type=local`: the files into a folder, one folder per platform when there are several. */
import { join } from 'node:path';
import { fail } from '../errors/error.ts';
import { formatPlatform } from '../oci/platform.ts';
import { runTask } from '../workers/pool.ts';
import { parseFileAttrs } from './attrs.ts';
import type { CopyProgress } from './copy-out.ts';
import { contextOf } from './layers.ts';
import { platformFolders } from './platform-folders.ts';
import type { Exporter } from './types.ts';

/** Throws `invalid` for attributes nobody knows. */
export function localExporter(attrs: Record<string, string>): Exporter {
  const want = parseFileAttrs('local', attrs);
  return {
    title: 'exporting to client directory',
    async export({ results, sourceDateEpoch }, ctx) {
      const { sink, progress, signal } = ctx;
      if (sink === undefined || !('files' in sink)) {
        throw fail('invalid', 'export', 'output type=local has nowhere to go: give it dest=FOLDER');
      }
      const epoch = want.sourceDateEpoch ?? sourceDateEpoch;
      const folders = platformFolders(results, want.platformSplit);
      await Promise.all(
        results.map(async ({ ref, platform }, i) => {
          const view = (await ref?.view(contextOf(ctx))) ?? { kind: 'empty' as const };
          const status = results.length > 1 ? `copying files ${formatPlatform(platform)}` : 'copying files';
          const say = (current: number, done = false) => progress.report(status, { current, total: 0, done });
          say(0);
          const { bytes } = await runTask(
            'export.copy',
            { view, dest: join(sink.files, folders[i]!), epochSeconds: epoch },
            { signal, onMessage: (message) => say((message as CopyProgress).bytes) },
          );
          say(bytes, true);
        }),
      );
      return { metadata: {} };
    },
  };
}
