/** fsutil's protocol from the client's side, by the proto: sending a folder, receiving one. */
import { constants, createReadStream, lstatSync } from 'node:fs';
import { chmod, link, lstat, mkdir, open, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { openView } from '../../../src/fs/open.ts';
import type { FsEntry } from '../../../src/fs/view.ts';
import {
  type Packet,
  PacketSchema,
  type Stat,
  StatSchema,
  Packet_PacketType as Type,
} from '../../../src/pb/fsutil/wire_pb.js';
import { type Call, Status } from './grpc-server.ts';

/** Go's os.FileMode bits. */
const go = {
  dir: 2 ** 31,
  symlink: 2 ** 27,
  device: 2 ** 26,
  fifo: 2 ** 25,
  setuid: 2 ** 23,
  setgid: 2 ** 22,
  char: 2 ** 21,
  sticky: 2 ** 20,
};

export interface Selection {
  includes?: string[];
  excludes?: string[];
  followPaths?: string[];
}

export function pack(packet: { type: Type; stat?: Stat; ID?: number; data?: Uint8Array }): Uint8Array {
  return toBinary(PacketSchema, create(PacketSchema, packet));
}

/** Sends a folder as `docker build` sends its context. `sent` is told each file whose bytes are asked for. */
export async function sendFolder(
  call: Call,
  dir: string,
  select: Selection,
  sent: (path: string) => void,
): Promise<void> {
  const files: (string | undefined)[] = [];
  const paths: string[] = [];
  const links = new Map<string, string>();
  const view = openView({ kind: 'folder', dir, rootOwned: false, ...select });
  const walk = async (path: string) => {
    for (const entry of view.readdir(path)) {
      const isFile = entry.type === 'file';
      let hard = '';
      if (isFile && entry.nlink > 1) {
        const key = `${entry.dev}:${entry.ino}`;
        hard = links.get(key) ?? '';
        if (hard === '') links.set(key, entry.path.slice(1));
      }
      files.push(isFile && hard === '' ? entry.hostPath : undefined);
      paths.push(entry.path.slice(1));
      await call.send(
        pack({ type: Type.PACKET_STAT, stat: statOf(entry, hard, Object.fromEntries(view.xattrs(entry))) }),
      );
      if (entry.type === 'dir') await walk(entry.path);
    }
  };
  const listing = walk('/').then(() => call.send(pack({ type: Type.PACKET_STAT })));
  listing.catch(() => {});
  let sending: Promise<void> = Promise.resolve();
  for await (const message of call.messages) {
    const packet = fromBinary(PacketSchema, message);
    if (packet.type === Type.PACKET_REQ) {
      const host = files[packet.ID];
      if (host === undefined) throw new Status(2, `invalid file id ${packet.ID}`);
      sent(paths[packet.ID] as string);
      sending = sending.then(() => sendFile(call, packet.ID, host));
      sending.catch(() => {}); // awaited once the receiver has all
    } else if (packet.type === Type.PACKET_FIN) {
      await listing;
      await sending;
      await call.send(pack({ type: Type.PACKET_FIN }));
      return;
    } else if (packet.type === Type.PACKET_ERR) throw new Status(2, Buffer.from(packet.data).toString());
  }
}

function statOf(entry: FsEntry, hard: string, xattrs: Record<string, Buffer>): Stat {
  const { mode } = entry;
  const type = {
    file: 0,
    dir: go.dir,
    symlink: go.symlink,
    fifo: go.fifo,
    char: go.device + go.char,
    block: go.device,
    socket: 2 ** 24,
  }[entry.type];
  const extra =
    (mode & 0o4000 ? go.setuid : 0) + (mode & 0o2000 ? go.setgid : 0) + (mode & 0o1000 ? go.sticky : 0);
  return create(StatSchema, {
    path: entry.path.slice(1),
    mode: type + extra + (mode & 0o777),
    uid: entry.uid,
    gid: entry.gid,
    size: BigInt(entry.type === 'file' && hard === '' ? entry.size : 0),
    modTime: entry.mtimeNs,
    linkname: hard === '' ? (entry.link ?? '') : hard,
    xattrs,
  });
}

async function sendFile(call: Call, ID: number, host: string): Promise<void> {
  for await (const data of createReadStream(host, { highWaterMark: 32 * 1024 })) {
    await call.send(pack({ type: Type.PACKET_DATA, ID, data: data as Buffer }));
  }
  await call.send(pack({ type: Type.PACKET_DATA, ID }));
}

/** Receives a tree into a folder, on top of what is there, as `docker build -o DIR` does. */
export async function receiveFolder(call: Call, dir: string): Promise<void> {
  const pending: Pending = new Map();
  try {
    await receiveInto(call, dir, pending);
  } finally {
    for (const file of pending.values()) await file.close();
  }
}

type Pending = Map<number, Awaited<ReturnType<typeof open>>>;

async function receiveInto(call: Call, dir: string, pending: Pending): Promise<void> {
  await mkdir(dir, { recursive: true });
  const stats: Stat[] = [];
  let listed = false;
  let finished = false;
  const finishIfDone = async () => {
    if (!listed || pending.size > 0 || finished) return;
    finished = true;
    for (const stat of stats.toReversed()) {
      if (typeBits(stat) === go.dir) {
        const path = join(dir, stat.path);
        await chmod(path, stat.mode & 0o777);
        await utimes(path, Number(stat.modTime) / 1e9, Number(stat.modTime) / 1e9);
      }
    }
    await call.send(pack({ type: Type.PACKET_FIN }));
  };
  for await (const message of call.messages) {
    const packet: Packet = fromBinary(PacketSchema, message);
    switch (packet.type) {
      case Type.PACKET_STAT: {
        if (packet.stat === undefined) {
          listed = true;
          await finishIfDone();
          break;
        }
        const id = stats.push(packet.stat) - 1;
        const wanted = await make(dir, packet.stat);
        if (!wanted) break;
        pending.set(id, await open(join(dir, packet.stat.path), constants.O_WRONLY));
        await call.send(pack({ type: Type.PACKET_REQ, ID: id }));
        break;
      }
      case Type.PACKET_DATA: {
        const file = pending.get(packet.ID);
        if (file === undefined) throw new Status(2, `no file ${packet.ID} was asked for`);
        if (packet.data.length > 0) {
          await file.writeFile(packet.data);
          break;
        }
        await file.close();
        pending.delete(packet.ID);
        const { path, mode, modTime } = stats[packet.ID] as Stat;
        await chmod(join(dir, path), (mode & 0o777) | (mode & go.setuid ? 0o4000 : 0));
        await utimes(join(dir, path), Number(modTime) / 1e9, Number(modTime) / 1e9);
        await finishIfDone();
        break;
      }
      case Type.PACKET_FIN:
        return;
      case Type.PACKET_ERR:
        throw new Status(2, `error from sender: ${Buffer.from(packet.data).toString()}`);
    }
  }
}

function typeBits({ mode }: Stat): number {
  return Number(BigInt(mode) & ~0o777n & ~BigInt(go.setuid + go.setgid + go.sticky));
}

/** Makes what a stat describes; whether its bytes are to be asked for. */
async function make(dir: string, stat: Stat): Promise<boolean> {
  const path = join(dir, stat.path);
  const there = await lstat(path).catch(() => undefined);
  const type = typeBits(stat);
  if (there !== undefined && !(type === go.dir && there.isDirectory())) await rm(path, { recursive: true });
  if (type === go.dir) await mkdir(path, { recursive: true });
  else if (type === go.symlink) await symlink(stat.linkname, path);
  else if (type === 0 && stat.linkname !== '') await link(join(dir, stat.linkname), path);
  else if (type === 0) {
    await writeFile(path, '');
    return true;
  }
  return false;
}

export function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
