/** Worker task `session.receive`: the receiving side of fsutil's protocol, into a folder. */
import { mkdirSync, realpathSync } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { canceled, DrydockError, errnoCode, fail, toDrydockError } from '../../errors/error.ts';
import type { TaskContext } from '../../workers/tasks.ts';
import { Deframer } from '../grpc/frame.ts';
import { isRegular } from './mode.ts';
import { DATA, ERR, FIN, STAT } from './packet.ts';
import { readPacket } from './packet-reader.ts';
import { PacketWriter } from './packet-writer.ts';
import { WorkerPipe } from './port.ts';
import { type ReceiveOptions, TreeReceiver } from './tree-receiver.ts';

export interface ReceiveArgs extends ReceiveOptions {
  /** Folder on this host, made when missing. */
  dest: string;
  port: MessagePort;
}

export interface Received {
  /** Files, folders and links that were described. */
  entries: number;
  /** Bytes of file contents that had to be sent. */
  bytes: number;
}

/**
 * Throws `invalid` (hop `session`) when the peer breaks the protocol, `unavailable` when it says that it failed or
 * goes away, `canceled`, `exhausted` on a full disk. What was written so far stays, but for files that are not whole.
 */
export async function receive(args: ReceiveArgs, ctx: TaskContext): Promise<Received> {
  const pipe = new WorkerPipe(args.port);
  const out = new PacketWriter();
  let tree: TreeReceiver | undefined;
  try {
    mkdirSync(args.dest, { recursive: true });
    tree = new TreeReceiver(realpathSync(args.dest), args);
    await converse(pipe, out, tree, ctx);
    return { entries: tree.entries, bytes: tree.bytes };
  } catch (err) {
    const error = asError(err, args.dest);
    if (error.code !== 'canceled') {
      // Tells the sender why nobody listens any more.
      out.take();
      out.error(error.message);
      pipe.send(out.take());
    }
    throw error;
  } finally {
    tree?.abort();
    pipe.close();
  }
}

async function converse(
  pipe: WorkerPipe,
  out: PacketWriter,
  tree: TreeReceiver,
  ctx: TaskContext,
): Promise<void> {
  const messages = new Deframer();
  let number = 0;
  let finished = false;
  for (;;) {
    const batch = await pipe.next();
    if (ctx.aborted()) throw canceled();
    if (batch === undefined) {
      if (finished) return;
      throw fail('unavailable', 'session', 'the peer stopped before all files were sent');
    }
    for (const message of messages.push(batch)) {
      const packet = readPacket(message);
      if (packet.type === DATA) {
        if (packet.data.length > 0) tree.data(packet.id, packet.data);
        else tree.dataEnd(packet.id);
      } else if (packet.type === STAT) {
        if (packet.stat === undefined) tree.statsEnd();
        else {
          const id = number++;
          if (tree.stat(id, packet.stat) && isRegular(packet.stat.mode)) out.request(id);
        }
      } else if (packet.type === ERR) {
        const said = Buffer.from(packet.data).toString('utf8').slice(0, 2000);
        throw fail('unavailable', 'session', `the peer could not send its files: ${said}`);
      } else if (packet.type === FIN) {
        if (!finished) throw fail('invalid', 'session', 'the peer ended before all files were sent');
        return;
      }
    }
    if (!finished && tree.complete) {
      finished = true;
      tree.finish();
      out.fin();
    }
    if (out.size > 0) pipe.send(out.take());
  }
}

function asError(err: unknown, dest: string): DrydockError {
  if (err instanceof DrydockError) return err;
  const code = errnoCode(err);
  if (code === 'ENAMETOOLONG')
    return fail('invalid', 'session', 'the peer sent a name that is too long', { cause: err });
  if (code === 'EACCES' || code === 'EROFS') {
    const message = `writing to ${dest}: ${(err as Error).message}`;
    return fail('denied', 'export', message, { cause: err, hint: 'Choose a folder that you may write to.' });
  }
  return toDrydockError(err, 'session');
}
