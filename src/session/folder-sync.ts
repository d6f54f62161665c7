/**
 * Brings a folder on this host over as a client elsewhere brings its own, for what is made of the list of its files.
 */
import { MessageChannel } from 'node:worker_threads';
import { toDrydockError } from '../errors/index.ts';
import { runTask } from '../workers/index.ts';
import { joinPorts } from './fsutil/port.ts';
import type { LocalProvider } from './types.ts';

/** A folder on this host as a provider that copies it, with a list of its files. */
export function folderSync(dir: string): Extract<LocalProvider, { kind: 'sync' }> {
  return {
    kind: 'sync',
    sharedKey: `folder ${dir}`,
    async sync(dest, { listing, afresh, metadataOnly, ...select }, _report, signal) {
      const [from, to] = [new MessageChannel(), new MessageChannel()];
      const [fromPipe, toPipe] = joinPorts(from.port1, to.port1);
      const run = { signal, waits: true };
      const spec = { kind: 'folder' as const, dir, rootOwned: true, ...select };
      const sending = runTask(
        'session.send',
        { trees: [{ spec }], port: from.port2 },
        { ...run, transfer: [from.port2] },
      );
      const receiving = runTask(
        'session.receive',
        { dest, listing, mode: afresh ? 'fresh' : 'mirror', owners: false, metadataOnly, port: to.port2 },
        { ...run, transfer: [to.port2] },
      );
      // One that ends before it has begun has told the other nothing.
      sending.catch((err) => toPipe.fail(err));
      receiving.catch((err) => fromPipe.fail(err));
      const [sent, received] = await Promise.allSettled([sending, receiving]);
      fromPipe.close();
      toPipe.close();
      if (received.status === 'fulfilled') return received.value.stamp;
      const error = toDrydockError(received.reason, 'session');
      // Then it is the folder that could not be read, in the sender's own words.
      if (error.code === 'unavailable' && sent.status === 'rejected') throw sent.reason;
      throw error;
    },
  };
}
