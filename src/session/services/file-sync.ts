/** Brings the files of the client's folders (proto/session/filesync.proto, service FileSync). */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { type DrydockError, fail, throwIfAborted, toDrydockError } from '../../errors/index.ts';
import { BytesStream, type GrpcCall, GrpcError, NOT_FOUND } from '../../grpc/index.ts';
import type { ReportStatus } from '../../progress/index.ts';
import { runTask, sendStream } from '../../workers/index.ts';
import type { CallsAhead } from '../calls-ahead.ts';
import { bridge } from '../fsutil/bridge.ts';
import type { Received } from '../fsutil/receive-task.ts';
import { noFolder } from '../no-folder.ts';
import { notServed, type Peer } from '../peer.ts';
import type { LocalProvider } from '../types.ts';
import { listMetadata } from './metadata.ts';

type Sync = Extract<LocalProvider, { kind: 'sync' }>;
type Selection = Parameters<Sync['sync']>[1];

const service = '/moby.filesync.v1.FileSync';

/** The method by which clients list their folders and send the files that are asked for. */
export const diffCopyMethod = `${service}/DiffCopy`;

/**
 * A folder of the client; undefined when the client serves no files at all. `ahead`: the calls that may have begun
 * already.
 */
export function syncedFolder(peer: Peer, name: string, ahead?: CallsAhead): Sync | undefined {
  const diff = peer.mayServe(diffCopyMethod);
  if (!diff && !peer.mayServe(`${service}/TarStream`)) return undefined;
  return {
    kind: 'sync',
    sharedKey: folderKey(peer),
    sync: (dest, select, report, signal) =>
      diff
        ? diffCopy(peer, name, dest, select, report, signal, ahead)
        : tarStream(peer, name, dest, select, report, signal),
  };
}

/**
 * The key of the client's folder. Clients without a key at least give the name of the folder they run in. An owner is
 * part of the key, so that nobody gets at another's files by giving the other's key.
 */
export function folderKey(peer: Peer): string {
  const key = hasKey(peer) ? `key ${peer.info.sharedKey}` : `name ${peer.info.name}`;
  return peer.owner === undefined ? key : `${peer.owner}: ${key}`;
}

/**
 * Whether the client says, across builds, which folder it is. If not, the state that is there may be another folder's.
 */
function hasKey(peer: Peer): boolean {
  return peer.info.sharedKey !== '';
}

/** Makes `dest` equal to the client's folder. Files that are there already and are the same are not sent again. */
async function diffCopy(
  peer: Peer,
  name: string,
  dest: string,
  select: Selection,
  report: ReportStatus,
  signal: AbortSignal,
  ahead?: CallsAhead,
): Promise<string | undefined> {
  const call = await start(peer, name, 'DiffCopy', select, signal, ahead);
  const status = `transferring ${name}:`;
  report(status, { current: 0, total: 0 });
  let current = 0;
  const { stamp } = await bridge<Received>(
    call.stream,
    explained(peer, name, call),
    (bytes) => {
      current = bytes;
      report(status, { current, total: 0 });
    },
    (port) =>
      runTask(
        'session.receive',
        {
          dest,
          listing: select.listing,
          mode: select.afresh ? 'fresh' : 'mirror',
          owners: false,
          wary: !hasKey(peer),
          metadataOnly: select.metadataOnly,
          port,
        },
        { signal, transfer: [port], waits: true },
      ),
  ).catch((err) => {
    call.cancel();
    throw told(name, err);
  });
  call.stream.end();
  report(status, { current, total: 0, done: true });
  return stamp;
}

/** Brings the folder as clients before BuildKit sent it: all files, each time, as a tar. */
async function tarStream(
  peer: Peer,
  name: string,
  dest: string,
  select: Selection,
  report: ReportStatus,
  signal: AbortSignal,
): Promise<undefined> {
  if (select.metadataOnly !== undefined) {
    throw fail(
      'unsupported',
      'session',
      `the client sends its ${folder(name)} as a tar: local.metadatatransfer needs its list`,
    );
  }
  const call = await start(peer, name, 'TarStream', select, signal);
  const status = `transferring ${name}:`;
  if (select.listing !== undefined) await rm(select.listing, { force: true });
  for (const entry of await readdir(dest)) await rm(join(dest, entry), { recursive: true, force: true });
  const bytes = new BytesStream(call, { explain: (err) => explain(peer, name, err) });
  bytes.end();
  let current = 0;
  bytes.on('data', (chunk: Buffer) => {
    current += chunk.length;
    report(status, { current, total: 0 });
  });
  bytes.pause();
  const { port1, port2 } = new MessageChannel();
  const sending = sendStream(port1, bytes);
  try {
    await runTask('source.unpack', { dir: dest, port: port2 }, { signal, transfer: [port2], waits: true });
    report(status, { current, total: 0, done: true });
  } catch (err) {
    throw told(name, err);
  } finally {
    port1.close();
    bytes.destroy();
    await sending;
  }
}

async function start(
  peer: Peer,
  name: string,
  method: string,
  select: Selection,
  signal: AbortSignal,
  ahead?: CallsAhead,
): Promise<GrpcCall> {
  throwIfAborted(signal);
  const metadata = listMetadata({
    'dir-name': [name],
    'include-patterns': select.includes,
    'exclude-patterns': select.excludes,
    followpaths: select.followPaths,
  });
  const begun = await ahead?.take(metadata, signal);
  if (begun !== undefined) return begun;
  const call = await peer.open(`its ${folder(name)}`, `${service}/${method}`, { metadata, signal });
  if (call === notServed) throw noFolder(name);
  return call;
}

/** Waits for the end of the call; throws its failure in words for the user. */
async function explained(peer: Peer, name: string, call: GrpcCall): Promise<void> {
  try {
    await call.status;
  } catch (err) {
    throw explain(peer, name, err);
  }
}

function explain(peer: Peer, name: string, err: unknown): DrydockError {
  if (err instanceof GrpcError && err.code === NOT_FOUND) return noFolder(name, err);
  return peer.explain(`its ${folder(name)}`, err);
}

/** The error of files, with the name of the folder that they are in. */
function told(name: string, err: unknown): DrydockError {
  const error = toDrydockError(err, 'session');
  if (error.code === 'canceled' || error.hop !== 'session' || error.message.startsWith('asking '))
    return error;
  const { code, hint, details } = error;
  const message = `reading the client's ${folder(name)}: ${error.message}`;
  return fail(code, 'session', message, { hint, details, cause: error.cause });
}

function folder(name: string): string {
  return name === 'context' ? 'build context' : `folder ${name}`;
}
