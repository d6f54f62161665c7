/**
 * Answers the kernel's requests for a filesystem of lazy layers. At its root is a folder for each layer. Everything but
 * the contents of files is as it is in the layer's folder on disk; reads of contents are handed on.
 */
import { closeSync, readSync } from 'node:fs';
import { errnoCode } from '../errors/index.ts';
import { digestXattr } from '../fs/index.ts';
import {
  bytesOf,
  type HostStat,
  lgetxattr,
  llistxattr,
  lstat,
  openSync,
  readdirSync,
  readlinkSync,
} from '../linux/index.ts';
import {
  answer,
  answerHead,
  attrAnswer,
  type DirEntry,
  dirAnswer,
  entrySize,
  errno,
  type FuseRequest,
  failed,
  forgotten,
  initAnswer,
  nameAt,
  noEntry,
  opcode,
  putAnswerHead,
  putEntry,
  readRange,
  rootNode,
  statfsAnswer,
  xattrAnswer,
  xattrName,
} from './fuse-protocol.ts';
import { NodeNumbers } from './node-numbers.ts';
import { holeXattr } from './place.ts';

/** A read of a file whose content is not in its layer's folder. */
export interface ContentRead {
  /** Names the kernel's request. */
  unique: bigint;
  /** The thread that reads: `FuseRequest`. */
  thread: number;
  /** The layer's folder name. */
  layer: string;
  /** The file's number in the layer's table. */
  file: number;
  /** The file's path in the layer, for errors. */
  path: string;
  offset: number;
  length: number;
}

interface Node {
  layer: number;
  /** The path of the file in the layer's folder on disk. */
  host: string;
  /** The kernel's lookups that it has not forgotten. */
  lookups: bigint;
  /** Set when the file's content is not in the folder. */
  hole?: Hole;
}

/** What stands on disk in the place of a file's content: `lazy/place.ts`. */
interface Hole {
  /** The file's number in the layer's table. */
  file: number;
  digest: string;
}

interface Hooks {
  /** Called for a read whose answer comes later. */
  read(read: ContentRead): void;
  /** Called when a thread that waits for an answer gets a signal. */
  interrupt(unique: bigint): void;
}

/** The filesystem; `handle` answers one request. */
export class Skeleton {
  readonly #folder: string;
  readonly #hooks: Hooks;
  readonly #nodes = new Map<bigint, Node>();
  readonly #holeXattr = holeXattr();
  readonly #numbers = new NodeNumbers();
  /** The folder that was listed last: the kernel asks for a long one piece by piece. */
  #listed: { node: bigint; entries: DirEntry[] } | undefined;

  /** `folder`: that of all layers, in which each has a folder with its number as name, and in it `fs`. */
  constructor(folder: string, hooks: Hooks) {
    this.#folder = folder;
    this.#hooks = hooks;
  }

  /** The answer; undefined when there is none, or it comes later. Never throws. */
  handle(request: FuseRequest): Buffer | undefined {
    try {
      return this.#handle(request);
    } catch (err) {
      const code = errnoCode(err);
      const known = Object.entries(errno).find(([name]) => name === code)?.[1];
      return failed(request.unique, known ?? errno.EIO);
    }
  }

  #handle(request: FuseRequest): Buffer | undefined {
    const { unique, node, body } = request;
    switch (request.opcode) {
      case opcode.init:
        return initAnswer(request);
      case opcode.lookup:
        return this.#lookup(unique, node, nameAt(body));
      case opcode.forget:
      case opcode.batchForget:
        for (const [id, count] of forgotten(request)) this.#forget(id, count);
        return undefined;
      case opcode.getattr:
        return attrAnswer(unique, node, this.#stat(node));
      case opcode.readlink: {
        const target = readlinkSync(this.#at(node).host);
        return answer(unique, bytesOf(target));
      }
      case opcode.read:
        return this.#read(request);
      case opcode.readdir:
        return dirAnswer(unique, this.#list(request), readRange(request));
      case opcode.readdirplus:
        return this.#listPlus(request);
      case opcode.getxattr: {
        const value = this.#attribute(node, xattrName(request));
        return value === undefined ? failed(unique, errno.ENODATA) : xattrAnswer(request, value);
      }
      case opcode.listxattr: {
        const names = llistxattr(this.#at(node).host).filter((name) => name !== this.#holeXattr);
        return xattrAnswer(request, bytesOf(names.map((name) => `${name}\0`).join('')));
      }
      case opcode.statfs:
        return statfsAnswer(unique);
      case opcode.interrupt:
        this.#hooks.interrupt(body.readBigUInt64LE(0));
        return undefined;
      case opcode.destroy:
      case opcode.flush:
      case opcode.release:
      case opcode.releasedir:
        return answer(unique);
      default:
        // OPEN and OPENDIR too: the kernel then leaves them out.
        return failed(unique, errno.ENOSYS);
    }
  }

  #at(node: bigint): Pick<Node, 'host' | 'layer'> {
    if (node === rootNode) return { host: this.#folder, layer: 0 };
    const found = this.#nodes.get(node);
    if (found === undefined) throw Object.assign(new Error('unknown node'), { code: 'ENOENT' });
    return found;
  }

  #stat(node: bigint): HostStat {
    const st = lstat(this.#at(node).host);
    if (st === undefined) throw Object.assign(new Error('gone'), { code: 'ENOENT' });
    return st;
  }

  /** The layer and the path on disk of a name in a folder. */
  #child(parent: bigint, name: string): Pick<Node, 'host' | 'layer'> {
    const { host, layer } = this.#at(parent);
    if (parent !== rootNode) return { host: `${host}/${name}`, layer };
    if (!/^\d+$/.test(name)) throw Object.assign(new Error('no layer'), { code: 'ENOENT' });
    return { host: `${host}/${name}/fs`, layer: Number(name) };
  }

  #lookup(unique: bigint, parent: bigint, name: string): Buffer {
    const child = this.#child(parent, name);
    const st = lstat(child.host);
    // A layer that is not there yet may come; within a layer nothing does.
    if (st === undefined) return parent === rootNode ? failed(unique, errno.ENOENT) : noEntry(unique);
    const out = Buffer.alloc(answerHead + entrySize);
    putAnswerHead(out, unique);
    this.#putChild(out, answerHead, child, st);
    return out;
  }

  /** Writes what a name leads to, and counts that the kernel has been told of it. */
  #putChild(out: Buffer, at: number, child: Pick<Node, 'host' | 'layer'>, st: HostStat): void {
    const id = this.#numbers.of(child.layer, st);
    const known = this.#nodes.get(id);
    if (known !== undefined) known.lookups++;
    else this.#nodes.set(id, { ...child, lookups: 1n, hole: this.#holeOf(child.host, st) });
    putEntry(out, at, id, child.layer, st);
  }

  #holeOf(host: string, st: HostStat): Hole | undefined {
    if (!st.isFile() || st.size === 0) return undefined;
    const [file, digest = ''] = lgetxattr(host, this.#holeXattr)?.toString('latin1').split(' ') ?? [];
    return file === undefined ? undefined : { file: Number(file), digest };
  }

  #attribute(node: bigint, name: string): Buffer | undefined {
    if (name === digestXattr) {
      const digest = this.#nodes.get(node)?.hole?.digest;
      return digest === undefined ? undefined : Buffer.from(digest);
    }
    return name === this.#holeXattr ? undefined : lgetxattr(this.#at(node).host, name);
  }

  #forget(id: bigint, count: bigint): void {
    const node = this.#nodes.get(id);
    if (node === undefined) return;
    node.lookups -= count;
    if (node.lookups <= 0n) this.#nodes.delete(id);
  }

  #read(request: FuseRequest): Buffer | undefined {
    const { unique, node: id, thread } = request;
    const node = this.#nodes.get(id);
    if (node === undefined) return failed(unique, errno.ENOENT);
    const { offset, size } = readRange(request);
    const length = Math.max(0, Math.min(size, this.#stat(id).size - offset));
    if (length === 0) return answer(unique);
    if (node.hole === undefined) return this.#readHere(unique, node.host, offset, length);
    const layer = String(node.layer);
    const path = node.host.slice(`${this.#folder}/${layer}/fs`.length);
    this.#hooks.read({ unique, thread, layer, file: node.hole.file, path, offset, length });
    return undefined;
  }

  #readHere(unique: bigint, host: string, offset: number, length: number): Buffer {
    const out = Buffer.allocUnsafe(answerHead + length);
    const fd = openSync(host, 'r');
    try {
      const n = readSync(fd, out, answerHead, length, offset);
      putAnswerHead(out, unique, 0, answerHead + n);
      return out.subarray(0, answerHead + n);
    } finally {
      closeSync(fd);
    }
  }

  #list({ node, body }: FuseRequest): DirEntry[] {
    const isContinued = body.readBigUInt64LE(8) > 0n;
    if (isContinued && this.#listed?.node === node) return this.#listed.entries;
    const { host, layer } = this.#at(node);
    const own = { ino: node, type: 4 };
    const entries: DirEntry[] = [
      { name: '.', ...own },
      { name: '..', ...own },
    ];
    // At the root there are the layers, which nobody lists.
    for (const name of node === rootNode ? [] : readdirSync(host)) {
      const st = lstat(`${host}/${name}`);
      if (st !== undefined) entries.push({ name, ino: this.#numbers.of(layer, st), type: st.mode >>> 12 });
    }
    this.#listed = { node, entries };
    return entries;
  }

  #listPlus(request: FuseRequest): Buffer {
    const { unique, node } = request;
    return dirAnswer(unique, this.#list(request), readRange(request), (out, at, { name }) => {
      // An entry with node 0 tells nothing and counts as no lookup.
      if (name === '.' || name === '..') return;
      const child = this.#child(node, name);
      const st = lstat(child.host);
      if (st !== undefined) this.#putChild(out, at, child, st);
    });
  }
}
