/** `type=tar`: writes the files as a tar, with a folder for each platform when there are several. */
import { MessageChannel } from 'node:worker_threads';
import { fail } from '../errors/index.ts';
import { receiveFromTask, runTask } from '../workers/index.ts';
import { epochOf, parseFileAttrs } from './attrs.ts';
import { withPlatformTrees } from './platform-folders.ts';
import { SinkWriter } from './tar-stream.ts';
import type { Exporter } from './types.ts';

/** Makes the exporter. Throws `invalid` for an unknown attribute. */
export function tarExporter(attrs: Record<string, string>): Exporter {
  const want = parseFileAttrs('tar', attrs);
  return {
    title: 'exporting to client tarball',
    async export({ results, sourceDateEpoch }, ctx) {
      const { sink, progress, signal } = ctx;
      if (sink === undefined || !('tar' in sink)) {
        throw fail('invalid', 'export', 'output type=tar has nowhere to go: give it dest=FILE');
      }
      const epoch = epochOf(want.sourceDateEpoch, sourceDateEpoch);
      return withPlatformTrees(results, want, ctx, async (trees) => {
        const output = new SinkWriter(await sink.tar(), signal);
        let current = 0;
        const say = (done = false) => progress.report('sending tarball', { current, total: 0, done });
        say();
        try {
          for (const [i, { spec, folder }] of trees.entries()) {
            const { port1, port2 } = new MessageChannel();
            const packing = runTask(
              'layer.pack',
              {
                layer: { kind: 'difference', lower: { kind: 'empty' }, upper: spec },
                compression: { type: 'uncompressed' },
                latestNs: epoch === undefined ? undefined : BigInt(epoch) * 1_000_000_000n,
                prefix: folder,
                open: i < trees.length - 1,
                sink: { kind: 'port', port: port2 },
              },
              { signal, transfer: [port2], waits: true },
            );
            for await (const chunk of receiveFromTask(port1, packing)) {
              await output.write(chunk);
              current += chunk.length;
              say();
            }
            await packing;
          }
          await output.end();
        } catch (err) {
          output.abort(err);
          throw err;
        }
        say(true);
        return { metadata: {} };
      });
    },
  };
}
