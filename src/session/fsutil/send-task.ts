/** Worker task `session.send`: the sending side of fsutil's protocol, of one or more trees. */
import { readSync } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import { canceled, DrydockError, fail, toDrydockError } from '../../errors/index.ts';
import {
  type FsEntry,
  type FsView,
  openEntry,
  openView,
  stopper,
  type ViewSpec,
  walkSelected,
} from '../../fs/index.ts';
import { Deframer, maxMessage } from '../../grpc/index.ts';
import { closeFd, major, minor } from '../../linux/index.ts';
import type { TaskContext } from '../../workers/index.ts';
import { goMode } from './mode.ts';
import { ERR, FIN, REQ, type Stat } from './packet.ts';
import { readPacket } from './packet-reader.ts';
import { PacketWriter } from './packet-writer.ts';
import { WorkerPipe } from './port.ts';

/** A tree to send. */
interface SendTree {
  spec: ViewSpec;
  /** The folder that the tree is put into, when there is more than one tree. */
  prefix?: string;
  /** Patterns of files that are never sent, whatever the view selects. */
  excludes?: readonly string[];
}

interface SendArgs {
  /** The trees, sorted by their prefixes. */
  trees: readonly SendTree[];
  /** The time of everything that is sent, in ns since the epoch; undefined: the view's times. */
  timestampNs?: bigint;
  port: MessagePort;
}

export interface Sent {
  entries: number;
  /** The bytes of file contents. */
  bytes: number;
}

/** Bytes per DATA packet, few enough for every receiver's limit on messages. */
const chunkSize = 128 * 1024;
const flushAt = 256 * 1024;
const nothing = new Uint8Array(0);

/**
 * Sends the trees. Throws `unavailable` (hop `session`) when the peer goes away or reports a failure, and the errors of
 * reading files.
 */
export async function send(args: SendArgs, ctx: TaskContext): Promise<Sent> {
  const pipe = new WorkerPipe(args.port);
  const sender = new Sender(pipe, args, ctx);
  try {
    sender.list();
    await sender.serve();
    return { entries: sender.entries, bytes: sender.bytes };
  } catch (err) {
    const error = err instanceof DrydockError ? err : toDrydockError(err, 'session');
    sender.fail(error);
    throw error;
  } finally {
    pipe.close();
  }
}

class Sender {
  entries = 0;
  bytes = 0;
  readonly #pipe: WorkerPipe;
  readonly #args: SendArgs;
  readonly #ctx: TaskContext;
  readonly #out = new PacketWriter();
  /** The files that may be asked for, by their place in the list. */
  readonly #files = new Map<number, FsEntry>();

  constructor(pipe: WorkerPipe, args: SendArgs, ctx: TaskContext) {
    this.#pipe = pipe;
    this.#args = args;
    this.#ctx = ctx;
  }

  /** Sends the list. The peer may ask for files while the list is still coming. */
  list(): void {
    for (const tree of this.#args.trees) this.#listTree(tree);
    this.#out.stat(undefined);
    this.#flush();
  }

  /** Answers requests until the peer has all files it wants. */
  async serve(): Promise<void> {
    const messages = new Deframer(maxMessage, { borrowed: true });
    for (;;) {
      const batch = await this.#pipe.next();
      if (batch === undefined)
        throw fail('unavailable', 'session', 'the peer stopped before it had all files');
      for (const message of messages.push(batch)) {
        const { type, id, data } = readPacket(message);
        if (type === REQ) await this.#file(id);
        else if (type === ERR) {
          const said = Buffer.from(data).toString('utf8').slice(0, 2000);
          throw fail('unavailable', 'session', `the peer could not take the files: ${said}`);
        } else if (type === FIN) {
          this.#out.fin();
          this.#flush();
          return;
        }
      }
      this.#flush();
    }
  }

  /** Tells the peer why nothing more comes. */
  fail(error: DrydockError): void {
    if (error.code === 'canceled') return;
    this.#out.error(error.message);
    this.#flush();
  }

  #listTree({ spec, prefix, excludes }: SendTree): void {
    const view = openView(spec, undefined, stopper(this.#ctx));
    const root = view.lstat('/');
    if (root === undefined) return;
    const at = prefix === undefined || prefix === '' ? '' : `${prefix}/`;
    if (at !== '') this.#stat(view, { ...root, type: 'dir' }, at.slice(0, -1), '');
    const links = new Map<string, string>();
    walkSelected(
      view,
      root,
      { excludes },
      {
        enter: (entry, rel) => {
          if (rel !== '') this.#stat(view, entry, at + rel, '');
        },
        file: (entry, rel) => {
          if (entry.type === 'socket') return;
          let link = entry.link ?? '';
          if (entry.type === 'file' && entry.nlink > 1) {
            const key = `${entry.dev}:${entry.ino}`;
            const first = links.get(key);
            if (first === undefined) links.set(key, at + rel);
            else link = first;
          }
          this.#stat(view, entry, at + rel, link);
        },
        leave: () => {},
      },
    );
  }

  #stat(view: FsView, entry: FsEntry, path: string, link: string): void {
    const isFile = entry.type === 'file';
    const stat: Stat = {
      path,
      mode: goMode(entry.type, entry.type === 'symlink' ? 0o777 : entry.mode),
      uid: entry.uid,
      gid: entry.gid,
      size: isFile && link === '' ? entry.size : 0,
      mtimeNs: this.#args.timestampNs ?? entry.mtimeNs,
      link,
      devmajor: entry.rdev === undefined ? 0 : major(entry.rdev),
      devminor: entry.rdev === undefined ? 0 : minor(entry.rdev),
      xattrs: view.xattrs(entry),
    };
    if (isFile) this.#files.set(this.entries, entry);
    this.entries++;
    this.#out.stat(stat);
    if ((this.entries & 63) === 0 && this.#ctx.aborted()) throw canceled();
    if (this.#out.size >= flushAt) this.#flush();
  }

  async #file(id: number): Promise<void> {
    const entry = this.#files.get(id);
    if (entry === undefined)
      throw fail('invalid', 'session', `the peer asked for file ${id}, which there is not`);
    this.#files.delete(id);
    let fd: number;
    let sent = 0;
    try {
      fd = openEntry(entry);
    } catch (cause) {
      throw unreadable(entry, cause);
    }
    try {
      for (;;) {
        // One byte more than there are tells the end. A file that has grown meanwhile is sent as it is now.
        const most = sent > entry.size ? chunkSize : Math.min(chunkSize, entry.size + 1 - sent);
        const n = this.#out.dataFrom(id, most, (buffer, at) => {
          try {
            return readSync(fd, buffer, at, most, null);
          } catch (cause) {
            throw unreadable(entry, cause);
          }
        });
        sent += n;
        if (this.#out.size >= flushAt) {
          this.#flush();
          if (this.#ctx.aborted()) throw canceled();
          await this.#pipe.room();
        }
        // A short read of a regular file is its end.
        if (n < most) break;
      }
      this.bytes += sent;
    } finally {
      closeFd(fd);
    }
    this.#out.data(id, nothing);
  }

  #flush(): void {
    this.#pipe.send(this.#out.take());
  }
}

function unreadable(entry: FsEntry, cause: unknown): DrydockError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return fail('unavailable', 'session', `${entry.path} could not be read while it was sent: ${why}`, {
    cause,
    hint: 'Do not change files while they are being sent; check that they may be read.',
  });
}
