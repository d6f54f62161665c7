/**
 * A remote snapshotter, as containerd's stargz snapshotter is one: a proxy plugin of a containerd that serves the layers
 * of a registry by itself. This one has all of a layer's files at once.
 * https://github.com/containerd/containerd/blob/main/docs/remote-snapshotter.md
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Http2Server } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { readFilters } from '../../src/patterns/filter.ts';
import { type Info, InfoSchema, Kind, Snapshots } from '../../src/pb/containerd/snapshots_pb.js';
import type { MountSchema } from '../../src/pb/containerd/types_pb.js';

/** The label that names the committed snapshot which a layer is to become. */
const refLabel = 'containerd.io/snapshot.ref';

export interface RemoteSnapshotter {
  /** Its socket, for containerd's `proxy_plugins`. */
  readonly address: string;
  /** A layer's digest → its uncompressed tar, for the layers that it serves. */
  readonly layers: Map<string, Buffer>;
  /** The labels of each layer that it was offered. */
  readonly offered: Record<string, string>[];
  stop(): Promise<void>;
}

interface Snapshot {
  info: Info;
  folder: string;
}

/** Starts one. Call `stop` in `afterAll`, after containerd's. */
export async function startRemoteSnapshotter(): Promise<RemoteSnapshotter> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-snapshotter-'));
  const layers = new Map<string, Buffer>();
  const offered: Record<string, string>[] = [];
  const snapshots = new Map<string, Snapshot>();
  let count = 0;

  const at = (key: string): Snapshot => {
    const found = snapshots.get(key);
    if (found === undefined) throw new ConnectError(`no snapshot ${key}`, Code.NotFound);
    return found;
  };
  const add = (name: string, parent: string, kind: Kind, labels: Record<string, string>): Snapshot => {
    if (snapshots.has(name)) throw new ConnectError(`snapshot ${name}`, Code.AlreadyExists);
    if (parent !== '') at(parent);
    const folder = join(dir, String(++count));
    for (const each of ['fs', 'work']) mkdirSync(join(folder, each), { recursive: true, mode: 0o755 });
    const now = timestampNow();
    const info = create(InfoSchema, { name, parent, kind, labels, createdAt: now, updatedAt: now });
    const made = { info, folder };
    snapshots.set(name, made);
    return made;
  };
  const mountsOf = ({ info, folder }: Snapshot): MessageInitShape<typeof MountSchema>[] => {
    const lower: string[] = [];
    for (let { parent } = info; parent !== ''; parent = at(parent).info.parent) {
      lower.push(join(at(parent).folder, 'fs'));
    }
    const isActive = info.kind === Kind.ACTIVE;
    const [only = join(folder, 'fs')] = lower;
    if (isActive && lower.length === 0) return [{ type: 'bind', source: only, options: ['rw', 'rbind'] }];
    if (!isActive && lower.length < 2) return [{ type: 'bind', source: only, options: ['ro', 'rbind'] }];
    const own = isActive ? [`workdir=${folder}/work`, `upperdir=${folder}/fs`] : [];
    const options = [...own, `lowerdir=${lower.join(':')}`];
    return [{ type: 'overlay', source: 'overlay', options }];
  };
  /** Makes the layer that the labels offer, if it is one of ours. */
  const takeRemote = (parent: string, labels: Record<string, string>): void => {
    const ref = labels[refLabel];
    if (ref === undefined) return;
    offered.push(labels);
    const tar = layers.get(labels['containerd.io/snapshot/remote/stargz.digest'] ?? '');
    if (tar === undefined) return;
    if (!snapshots.has(ref)) {
      const { folder } = add(ref, parent, Kind.COMMITTED, labels);
      execFileSync('tar', ['-xp', '-C', join(folder, 'fs')], { input: tar });
    }
    throw new ConnectError(`target snapshot ${ref}`, Code.AlreadyExists);
  };

  const routes = (router: ConnectRouter) =>
    router.service(Snapshots, {
      prepare({ key, parent, labels }) {
        takeRemote(parent, labels);
        return { mounts: mountsOf(add(key, parent, Kind.ACTIVE, labels)) };
      },
      view: ({ key, parent, labels }) => ({ mounts: mountsOf(add(key, parent, Kind.VIEW, labels)) }),
      mounts: ({ key }) => ({ mounts: mountsOf(at(key)) }),
      commit({ name, key, labels }) {
        const active = at(key);
        if (snapshots.has(name)) throw new ConnectError(`snapshot ${name}`, Code.AlreadyExists);
        snapshots.delete(key);
        Object.assign(active.info, { name, kind: Kind.COMMITTED, labels });
        snapshots.set(name, active);
        return {};
      },
      remove({ key }) {
        const { folder } = at(key);
        for (const { info } of snapshots.values()) {
          if (info.parent === key) throw new ConnectError(`${key} has children`, Code.FailedPrecondition);
        }
        snapshots.delete(key);
        rmSync(folder, { recursive: true, force: true });
        return {};
      },
      stat: ({ key }) => ({ info: at(key).info }),
      update({ info: changes }) {
        const { info } = at(changes?.name ?? '');
        info.labels = { ...changes?.labels };
        return { info };
      },
      async *list({ filters }) {
        const matches = readFilters(filters);
        yield {
          info: [...snapshots.values()]
            .map(({ info }) => info)
            .filter(({ name, parent, labels }) => matches({ name, parent, labels })),
        };
      },
      usage: () => ({ size: 4096n, inodes: 1n }),
      cleanup: () => ({}),
    });
  const server: Http2Server = createServer(connectNodeAdapter({ routes }));
  const address = join(dir, 'socket');
  await new Promise<void>((resolve) => server.listen(address, resolve));
  return {
    address,
    layers,
    offered,
    stop() {
      rmSync(dir, { recursive: true, force: true });
      return new Promise((resolve) => {
        server.close(() => resolve());
        setTimeout(resolve, 1000).unref();
      });
    },
  };
}
