/** Files and archives to the client (FileSend): the local, tar, oci and docker exporters with a client as their sink. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { SessionManager } from '../../src/session/manager.ts';
import { closePool } from '../../src/workers/pool.ts';
import { arm64, registry, run, solved } from '../exporter/kit.ts';
import type { Blobs } from '../kit/session/content.ts';
import { join } from '../kit/session/duplex-pair.ts';
import { SessionClient, type SessionClientOptions } from '../kit/session/session-client.ts';
import { twoLayers } from '../kit/two-layers.ts';
import { withStore } from '../layer/kit.ts';

let dir: string;
let manager: SessionManager;
const open: SessionClient[] = [];
beforeEach(() => {
  dir = mkdtempSync(joinPath(tmpdir(), 'drydock-send-'));
  manager = new SessionManager();
});
afterEach(() => {
  for (const client of open.splice(0)) client.close();
  manager.close();
  rmSync(dir, { recursive: true, force: true });
});
afterAll(async () => {
  registry.close();
  await closePool();
});

const connect = (options: SessionClientOptions) => {
  const client = new SessionClient(options);
  open.push(client);
  return { client, session: join(manager, client) };
};
const path = (...parts: string[]) => joinPath(dir, ...parts);
const signal = new AbortController().signal;

test('type=local: the tree into the client’s folder, on top of what is there', () =>
  withStore('overlayfs', async (store) => {
    const { client, session } = connect({ outputs: { 0: { dir: path('out') } } });
    mkdirSync(path('out/bin'), { recursive: true });
    writeFileSync(path('out/bin/mine'), 'mine');
    const results = [solved(await twoLayers(store))];
    const out = await run(store, 'local', {}, { results, sourceDateEpoch: 5000 }, { sink: session.output() });
    expect(readFileSync(path('out/bin/tool'), 'utf8')).toBe('tool');
    // For clients that remove what is not sent (mode=delete): all platforms come in one transfer.
    expect(client.calls.at(-1)?.headers['buildkit-exporter-multi-platform']).toBe('1');
    expect(statSync(path('out/bin/tool'))).toMatchObject({ mtimeMs: 5_000_000, mode: 0o104755 });
    expect(statSync(path('out/bin/zame')).ino).toBe(statSync(path('out/bin/tool')).ino);
    expect(lstatSync(path('out/link')).isSymbolicLink()).toBe(true);
    expect(readFileSync(path('out/bin/mine'), 'utf8')).toBe('mine');
    expect(existsSync(path('out/größe'))).toBe(true);
    expect(existsSync(path('out/gone'))).toBe(false);
    expect(out.open).toEqual([]);
  }));

test('type=local with several platforms: a folder each', () =>
  withStore('overlayfs', async (store) => {
    const { session } = connect({ outputs: { 0: { dir: path('out') } } });
    const ref = await twoLayers(store);
    const results = [solved(ref, {}, arm64), solved(ref)];
    await run(store, 'local', {}, { results }, { sink: session.output() });
    for (const folder of ['linux_amd64', 'linux_arm64']) {
      expect(readFileSync(path('out', folder, 'bin/tool'), 'utf8')).toBe('tool');
    }
  }));

test('several outputs: each goes to its own place, by its number', () =>
  withStore('overlayfs', async (store) => {
    const { session } = connect({ outputs: { 0: { dir: path('zero') }, 2: { file: path('two.tar') } } });
    const results = [solved(await twoLayers(store))];
    await run(store, 'local', {}, { results }, { sink: session.output(0) });
    await run(store, 'tar', {}, { results }, { sink: session.output('2') });
    expect(readFileSync(path('zero/bin/tool'), 'utf8')).toBe('tool');
    const list = execFileSync('tar', ['-tf', path('two.tar')], { encoding: 'utf8' });
    expect(list).toContain('bin/tool');
    await expect(run(store, 'tar', {}, { results }, { sink: session.output(1) })).rejects.toMatchObject({
      hop: 'session',
      message: expect.stringContaining('exporter 1 not found'),
    });
  }));

test('type=oci and type=docker: an archive, with the metadata that clients read', () =>
  withStore('overlayfs', async (store) => {
    const { client, session } = connect({
      outputs: { 0: { file: path('oci.tar') }, 1: { file: path('docker.tar') } },
    });
    const results = [solved(await twoLayers(store))];
    const names = ['docker.io/library/app:1'];
    const oci = await run(store, 'oci', {}, { results, names }, { sink: session.output(0) });
    await run(store, 'docker', {}, { results, names }, { sink: session.output(1) });
    expect(client.metadata[0]).toMatchObject({
      'containerimage.digest': oci.descriptor?.digest,
      'containerimage.config.digest': oci.imageId,
      'image.name': 'docker.io/library/app:1',
    });
    const descriptor = JSON.parse(
      Buffer.from(client.metadata[0]?.['containerimage.descriptor'] ?? '', 'base64').toString(),
    );
    expect(descriptor).toMatchObject({ digest: oci.descriptor?.digest });
    const files = (name: string) =>
      execFileSync('tar', ['-xOf', path(name), 'index.json'], { encoding: 'utf8' });
    expect(JSON.parse(files('oci.tar')).manifests[0].digest).toBe(oci.descriptor?.digest);
    execFileSync('tar', ['-xOf', path('docker.tar'), 'manifest.json']);
  }));

test('type=oci,tar=false: the blobs into the client’s store, each once; it writes the layout around them', () =>
  withStore('overlayfs', async (store) => {
    const blobs: Blobs = new Map();
    const { client, session } = connect({ outputs: {}, stores: { export: blobs } });
    const results = [solved(await twoLayers(store))];
    const oci = await run(store, 'oci', { tar: 'false' }, { results }, { sink: session.output(0) });
    const manifest = JSON.parse(String(blobs.get(oci.descriptor!.digest)));
    const wanted = [
      oci.descriptor!.digest,
      manifest.config.digest,
      ...manifest.layers.map((l: { digest: string }) => l.digest),
    ];
    expect([...blobs.keys()].toSorted()).toEqual(wanted.toSorted());
    expect(oci.open).toEqual([]);
    await run(store, 'oci', { tar: 'false' }, { results }, { sink: session.output(0) });
    expect(client.calls.filter(({ method }) => method.endsWith('/Write'))).toHaveLength(2 * wanted.length);
    const none = connect({ outputs: {} });
    await expect(
      run(store, 'oci', { tar: 'false' }, { results }, { sink: none.session.output(0) }),
    ).rejects.toMatchObject({ code: 'unsupported', hop: 'session' });
  }));

test('a client that has the archive already says so, and that is fine', () =>
  withStore('overlayfs', async (store) => {
    const { session } = connect({ outputs: { 0: 'exists' } });
    const results = [solved(await twoLayers(store))];
    await run(store, 'tar', {}, { results }, { sink: session.output() });
  }));

test('a client that takes no files, or cannot write them, says why', () =>
  withStore('overlayfs', async (store) => {
    const results = [solved(await twoLayers(store))];
    const none = connect({ secrets: {} });
    const nowhere = { code: 'unsupported', hop: 'session', hint: expect.stringContaining('--output') };
    await expect(run(store, 'local', {}, { results }, { sink: none.session.output() })).rejects.toMatchObject(
      nowhere,
    );
    await expect(run(store, 'tar', {}, { results }, { sink: none.session.output() })).rejects.toMatchObject(
      nowhere,
    );
    writeFileSync(path('file'), 'no folder');
    const full = connect({ outputs: { 0: { dir: path('file/out') } } });
    await expect(run(store, 'local', {}, { results }, { sink: full.session.output() })).rejects.toMatchObject(
      {
        hop: 'session',
        message: expect.stringContaining('ENOTDIR'),
      },
    );
  }));

/** A large file in a tree of its own. */
const large = async (bytes: number) => {
  mkdirSync(path('tree'), { recursive: true });
  writeFileSync(path('tree/big'), 'start');
  truncateSync(path('tree/big'), bytes);
  return [{ spec: { kind: 'folder' as const, dir: path('tree'), rootOwned: true } }];
};

test('a client that reads slowly holds the sender back', async () => {
  const blocked = Promise.withResolvers<void>();
  const { session } = connect({
    window: 64 * 1024,
    outputs: {},
    handlers: {
      '/moby.filesync.v1.FileSend/DiffCopy': async (call) => {
        // Asks for everything, and takes nothing until it may.
        await call.send(Buffer.from([0x08, 0x01]));
        await blocked.promise;
        for await (const _ of call.messages) if (call.stream.destroyed) return;
      },
    },
  });
  let sent = 0;
  const stop = new AbortController();
  const sending = session.output().send(await large(64 << 20), {
    signal: stop.signal,
    onBytes: (bytes) => (sent = bytes),
  });
  sending.catch(() => {});
  for (let still = 0, last = -1; still < 10; still = sent === last ? still + 1 : 0) {
    last = sent;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(sent).toBeLessThan(1 << 20);
  blocked.resolve();
  stop.abort();
  await expect(sending).rejects.toMatchObject({ code: 'canceled' });
});

test('a large file arrives whole', async () => {
  const { session } = connect({ outputs: { 0: { dir: path('out') } } });
  const { bytes } = await session.output().send(await large((24 << 20) + 7), { signal });
  expect(bytes).toBe((24 << 20) + 7);
  execFileSync('cmp', [path('tree/big'), path('out/big')]);
});

test('a client that dies in the middle fails the export, for files and for archives', async () => {
  const { client, session } = connect({ outputs: { 0: { dir: path('out') }, 1: { file: path('out.tar') } } });
  const archive = await session.output(1).tar();
  const broken = new Promise<Error>((resolve) => archive.once('error', resolve));
  const sending = session.output(0).send(await large(200 << 20), {
    signal,
    onBytes: (bytes) => {
      if (bytes > 1 << 20) client.close();
    },
  });
  const gone = { code: 'unavailable', hop: 'session', message: expect.stringContaining('is gone') };
  await expect(sending).rejects.toMatchObject(gone);
  expect(await broken).toMatchObject(gone);
});

test('a file that goes away while it is sent fails the export at both ends', async () => {
  const refused = Promise.withResolvers<void>();
  const { session } = connect({
    outputs: {},
    handlers: {
      '/moby.filesync.v1.FileSend/DiffCopy': async (call) => {
        let listed = false;
        for await (const message of call.messages) {
          if (!listed) {
            rmSync(path('tree/big'));
            await call.send(Buffer.from([0x08, 0x01]));
          }
          listed = true;
          if (message[0] === 0x08 && message[1] === 4) refused.resolve();
        }
      },
    },
  });
  await expect(session.output().send(await large(100), { signal })).rejects.toMatchObject({
    message: expect.stringContaining('/big could not be read while it was sent'),
  });
  await refused.promise;
});
