/** Worker task `session.receive`: the receiving side of fsutil's protocol, into a folder. */
import type { MessagePort } from 'node:worker_threads';
import { canceled, DrydockError, errnoCode, fail, toDrydockError, withoutPaths } from '../../errors/index.ts';
import { readContents, writeContents } from '../../fs/index.ts';
import { Deframer, maxMessage } from '../../grpc/index.ts';
import { mkdirSync, realpathSync } from '../../linux/index.ts';
import type { TaskContext } from '../../workers/index.ts';
import { ContentsTaker } from './contents.ts';
import { forgetListing, ListedMessages, type Listing, ListingWriter, readListing } from './listing.ts';
import { MetadataOnly, metadataFile } from './metadata-only.ts';
import { isRegular } from './mode.ts';
import { DATA, ERR, FIN, type Packet, STAT, type Stat } from './packet.ts';
import { readPacket } from './packet-reader.ts';
import { PacketWriter } from './packet-writer.ts';
import { WorkerPipe } from './port.ts';
import type { ReceiveOptions } from './receive-options.ts';
import { TreeReceiver } from './tree-receiver.ts';

/** The parts of a file that are written in one go; Linux takes 1,024. */
const mostParts = 256;

interface ReceiveArgs extends ReceiveOptions {
  /** The folder on this host. It is made when it is missing. */
  dest: string;
  /**
   * The file, not in `dest`, that keeps the last list, so that no file is looked at when the same list comes again.
   * `dest` must then be changed by nobody else, or this file be removed first.
   */
  listing?: string;
  /** Wants only descriptions, and the files at paths that match these patterns. */
  metadataOnly?: readonly string[];
  port: MessagePort;
}

export interface Received {
  /** The number of files, folders and links that were described. */
  entries: number;
  /** The bytes of file contents that had to be sent. */
  bytes: number;
  /** With `listing`: stands for the content of `dest`, as long as nobody sends it something else. */
  stamp?: string;
}

/**
 * Receives a tree. Throws `invalid` (hop `session`) when the peer breaks the protocol, `unavailable` when it reports a
 * failure or goes away, `canceled`, and `exhausted` on a full disk. The files written so far stay, but for those that
 * are not whole.
 */
export async function receive(args: ReceiveArgs, ctx: TaskContext): Promise<Received> {
  const pipe = new WorkerPipe(args.port);
  const out = new PacketWriter();
  let receiver: Receiver | undefined;
  try {
    mkdirSync(args.dest, { recursive: true });
    receiver = new Receiver(realpathSync(args.dest), args, out);
    await converse(pipe, out, receiver, ctx);
    return receiver.result();
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
    receiver?.abort();
    pipe.close();
  }
}

async function converse(
  pipe: WorkerPipe,
  out: PacketWriter,
  receiver: Receiver,
  ctx: TaskContext,
): Promise<void> {
  for (;;) {
    const batch = await pipe.next();
    if (ctx.aborted()) throw canceled();
    if (batch === undefined) {
      if (receiver.finished) return;
      throw fail('unavailable', 'session', 'the peer stopped before all files were sent');
    }
    if (receiver.push(batch)) return;
    if (out.size > 0) pipe.send(out.take());
  }
}

/**
 * Deals with the sender's messages. As long as the sender lists what it listed last time, there is nothing to do. From
 * the first difference on, each file that is listed as it was is left alone.
 */
class Receiver {
  /** Whether all is here, and the sender was told so. */
  finished = false;
  readonly #dest: string;
  readonly #args: ReceiveArgs;
  readonly #out: PacketWriter;
  readonly #messages = new Deframer(maxMessage, { borrowed: true });
  #known: Listing | undefined;
  /** How many bytes of the known list have come again. */
  #matched = 0;
  /** The last list, once the new one has turned out to be another. */
  #before: ListedMessages | undefined;
  #tree: TreeReceiver | undefined;
  #writer: ListingWriter | undefined;
  /** What the files hold, with `listing`. */
  #contents: ContentsTaker | undefined;
  /** The stamp of the state that was there. */
  #oldStamp: string | undefined;
  #metadata: MetadataOnly | undefined;
  #number = 0;
  /** Bytes of one file that have come and are not written. */
  readonly #run: { id: number; parts: Uint8Array[] } = { id: 0, parts: [] };

  constructor(dest: string, args: ReceiveArgs, out: PacketWriter) {
    this.#dest = dest;
    this.#args = args;
    this.#out = out;
    const { listing, mode, wary } = args;
    if (listing === undefined || mode !== 'mirror') return;
    const known = readListing(listing, dest);
    if (known?.wholeSeconds === true && wary === true) return;
    this.#known = known;
  }

  /** Takes bytes of the sender; returns true when the sender has said its last. */
  push(batch: Uint8Array): boolean {
    const known = this.#known;
    if (known === undefined || this.finished) return this.#read(batch);
    const end = Math.min(this.#matched + batch.length, known.bytes.length);
    const same = known.bytes.compare(batch, 0, end - this.#matched, this.#matched, end) === 0;
    if (!same) {
      this.#known = undefined;
      this.#before = new ListedMessages(known);
      this.#oldStamp = known.stamp;
      return this.#read(known.bytes.subarray(0, this.#matched)) || this.#read(batch);
    }
    const rest = batch.subarray(end - this.#matched);
    this.#matched = end;
    if (end < known.bytes.length) return false;
    this.finished = true;
    this.#out.fin();
    return this.#read(rest);
  }

  /** The result, once `push` has returned true. */
  result(): Received {
    const known = this.#known;
    if (known !== undefined) return { entries: known.entries, bytes: 0, stamp: known.stamp };
    const tree = this.#begun();
    const { entries, bytes } = tree;
    const { listing } = this.#args;
    if (listing === undefined || this.#writer === undefined) return { entries, bytes };
    const stamp = this.#writer.save(listing, this.#dest, tree);
    if (stamp !== undefined && this.#contents !== undefined)
      writeContents(this.#dest, stamp, this.#contents.known);
    return { entries, bytes, stamp };
  }

  /** Removes files that are not whole. */
  abort(): void {
    this.#tree?.abort();
  }

  #begun(): TreeReceiver {
    if (this.#tree !== undefined) return this.#tree;
    const { listing, mode, metadataOnly } = this.#args;
    if (metadataOnly !== undefined) this.#metadata = new MetadataOnly(metadataOnly);
    if (listing !== undefined) {
      forgetListing(listing);
      if (mode === 'mirror') {
        this.#writer = new ListingWriter();
        const stamp = this.#oldStamp;
        this.#contents = new ContentsTaker(stamp === undefined ? undefined : readContents(this.#dest, stamp));
      }
    }
    this.#tree = new TreeReceiver(this.#dest, this.#args);
    return this.#tree;
  }

  #read(batch: Uint8Array): boolean {
    for (const message of this.#messages.push(batch)) {
      const packet = readPacket(message);
      if (packet.type === DATA && packet.data.length > 0 && this.#joins(packet)) continue;
      this.#write();
      if (packet.type === ERR) {
        const said = Buffer.from(packet.data).toString('utf8').slice(0, 2000);
        throw fail('unavailable', 'session', `the peer could not send its files: ${said}`);
      }
      if (packet.type === FIN) {
        if (!this.finished) throw fail('invalid', 'session', 'the peer ended before all files were sent');
        return true;
      }
      this.#file(packet, message);
    }
    this.#write();
    const tree = this.#tree;
    if (!this.finished && tree?.complete === true) {
      this.finished = true;
      tree.finish();
      this.#metadata?.write(this.#dest);
      this.#out.fin();
    }
    return false;
  }

  /** Takes the next bytes of the file that the bytes before are of. */
  #joins({ id, data }: Packet): boolean {
    const { parts } = this.#run;
    if (parts.length === 0 || parts.length === mostParts || this.#run.id !== id) return false;
    parts.push(data);
    return true;
  }

  /** Writes the bytes that have come for one file, in one go. */
  #write(): void {
    const { id, parts } = this.#run;
    if (parts.length === 0) return;
    this.#run.parts = [];
    this.#tree?.data(id, parts);
    for (const part of parts) this.#contents?.data(id, part);
  }

  #file(packet: Packet, message: Uint8Array): void {
    if (packet.type !== DATA && packet.type !== STAT) return;
    if (this.finished && this.#tree === undefined) {
      throw fail('invalid', 'session', "the peer's files were refused: it went on after the end of its list");
    }
    const tree = this.#begun();
    if (packet.type === DATA) {
      if (packet.data.length > 0) {
        this.#run.id = packet.id;
        this.#run.parts.push(packet.data);
      } else {
        tree.dataEnd(packet.id);
        this.#contents?.end(packet.id);
      }
      return;
    }
    this.#writer?.add(message);
    if (packet.stat === undefined) {
      tree.statsEnd();
      return;
    }
    const id = this.#number++;
    const isKnown = this.#before?.has(message, packet.stat.path) === true;
    for (const stat of this.#wanted(packet.stat, packet.statBytes)) {
      const wanted = tree.stat(id, stat, isKnown);
      this.#contents?.listed(id, stat, wanted);
      if (wanted && isRegular(stat.mode)) this.#out.request(id);
    }
  }

  /** The files to make because of a description: all, or those that `metadataOnly` leaves. */
  #wanted(stat: Stat, bytes: Uint8Array): Stat[] {
    if (this.#metadata === undefined) return [stat];
    return stat.path === metadataFile ? [] : this.#metadata.take(stat, bytes);
  }
}

function asError(err: unknown, dest: string): DrydockError {
  if (err instanceof DrydockError) return err;
  const code = errnoCode(err);
  if (code === 'ENAMETOOLONG')
    return fail('invalid', 'session', 'the peer sent a name that is too long', { cause: withoutPaths(err) });
  if (code === 'EACCES' || code === 'EROFS') {
    const message = `writing to ${dest}: ${(err as Error).message}`;
    return fail('denied', 'export', message, { cause: err, hint: 'Choose a folder that you may write to.' });
  }
  return toDrydockError(err, 'session');
}
