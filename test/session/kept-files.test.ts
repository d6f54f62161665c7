/** A file that a client has sent is written once: it is a file of the folder kept for it and of the layer it is copied to. */
import {
  appendFileSync,
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findImage } from '../../src/distribution/stored.ts';
import { runBuild } from '../../src/engine/build.ts';
import { dockerfileBuild } from '../../src/engine/dockerfile-build.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { openView } from '../../src/fs/open.ts';
import { specOfMounts, type ViewSpec } from '../../src/fs/view.ts';
import { keptUnder } from '../../src/kept/kept.ts';
import { chainId } from '../../src/oci/digest.ts';
import { inProcessSession } from '../../src/session/in-process.ts';
import { SessionManager } from '../../src/session/manager.ts';
import type { Session } from '../../src/session/types.ts';
import { prune } from '../../src/upkeep/disk-usage.ts';
import { Builds } from '../kit/builds.ts';
import { join } from '../kit/session/duplex-pair.ts';
import { SessionClient } from '../kit/session/session-client.ts';
import { onLocal } from '../kit/stores.ts';

onLocal('files of the client', (store) => {
  const builds = new Builds();
  const manager = new SessionManager();
  let source: string;
  beforeAll(async () => {
    await builds.open(store.options());
  });
  afterAll(async () => {
    manager.close();
    await builds.close();
  });

  /** A folder of a client's whose files have times that fractions of a second tell apart. */
  const folder = (files: Record<string, string>) => {
    source = mkdtempSync(joinPath(builds.dir, 'client-'));
    for (const [name, text] of Object.entries(files)) write(name, text);
  };
  const write = (name: string, text: string) => {
    mkdirSync(joinPath(source, name, '..'), { recursive: true });
    writeFileSync(joinPath(source, name), text);
    utimesSync(joinPath(source, name), 1_700_000_000.25, 1_700_000_000.25 + text.length);
  };
  const run = async (session: Session, dockerfile: string, engine = builds.engine) => {
    writeFileSync(joinPath(source, 'Dockerfile'), dockerfile);
    await runBuild(
      engine,
      dockerfileBuild({
        context: { type: 'local', name: 'context' },
        ...{ tags: ['made'], outputs: [{ type: 'image', attrs: {} }], buildArgs: {}, labels: {} },
        ...{ platforms: [], noCache: false, noCacheFilter: [], pull: 'missing', network: 'none' },
        ...{ extraHosts: [], shmSize: 0, ulimits: [], namedContexts: {}, check: false, allow: [] },
      }),
      session,
      { vertex: () => {}, status: () => {}, log: () => {}, warning: () => {} },
      new AbortController().signal,
    );
    return await look(engine);
  };
  /** The image made last: its layers, and a view of it. */
  const look = async (engine = builds.engine) => {
    const { image } = await findImage(engine.store, 'made');
    const diffIds = image.config.rootfs.diff_ids;
    const snapshot = await engine.store.snapshots.byChain(chainId(diffIds)!);
    const opened = await engine.store.snapshots.view(snapshot!.key);
    const spec: ViewSpec = specOfMounts(opened.mounts);
    await opened.release();
    const view = openView(spec);
    const at = (path: string) => view.lstat(path)!.hostPath;
    return { diffIds, view, at, read: (path: string) => readFileSync(at(path), 'utf8') };
  };
  /** Builds what a client sends; tells what was sent. */
  const synced = async (dockerfile: string) => {
    const client = new SessionClient({ dirs: { context: source, dockerfile: source }, sharedKey: source });
    try {
      const made = await run(join(manager, client), dockerfile);
      return { ...made, sent: client.sent.flat().filter((name) => name !== 'Dockerfile') };
    } finally {
      client.close();
    }
  };
  /** Where the client's file `name` is kept. */
  const kept = (name: string) => {
    const root = joinPath(builds.engine.store.root, 'sync');
    const found = readdirSync(root)
      .flatMap((id) => ['0', '1'].map((n) => joinPath(root, id, n, 'data', name)))
      .filter((path) => statSync(path, { throwIfNoEntry: false }) !== undefined);
    expect(found).toHaveLength(1);
    return found[0] as string;
  };

  test('a copied file is the kept one (on a store that is ours alone), and a layer is what it would be with a copy', async () => {
    folder({ 'one/a': 'a', 'one/b': 'bb', 'one/empty': '' });
    chmodSync(joinPath(source, 'one/b'), 0o4755);
    const text = 'FROM base\nCOPY one /one\nCOPY --chown=7 one /theirs\n';
    const { diffIds, at } = await synced(text);
    for (const name of ['a', 'b', 'empty'])
      expect(lstatSync(at(`/one/${name}`)).ino === lstatSync(kept(`one/${name}`)).ino).toBe(
        !builds.engine.store.shared,
      );
    expect(lstatSync(at('/theirs/a')).ino).not.toBe(lstatSync(kept('one/a')).ino);
    // A folder on this host is copied.
    const root = mkdtempSync(joinPath(tmpdir(), 'drydock-copied-'));
    const engine = await openEngine({ root, ...store.options() });
    try {
      const other = new Builds();
      other.engine = engine;
      await other.makeBase();
      rmSync(other.dir, { recursive: true });
      const copied = await run(inProcessSession({ locals: { context: source } }), text, engine);
      expect(copied.diffIds.slice(-2)).toEqual(diffIds.slice(-2));
    } finally {
      await engine.close();
      rmSync(root, { recursive: true, force: true });
    }
  });

  test('what a step writes to a copied file is not in the kept one', async () => {
    folder({ 'two/a': 'as sent' });
    const step = 'RUN echo -n +more >> /two/a && chmod 600 /two/a && touch -d @5 /two/a';
    const { read } = await synced(`FROM base\nCOPY two /two\n${step}\n`);
    expect(read('/two/a')).toBe('as sent+more');
    expect(readFileSync(kept('two/a'), 'utf8')).toBe('as sent');
    expect(lstatSync(kept('two/a')).mode & 0o777).toBe(0o644);
    const again = await synced('FROM base\nCOPY two /again\n');
    expect([again.read('/again/a'), again.sent]).toEqual(['as sent', []]);
  });

  test('what the client changes later is not in a layer made before', async () => {
    folder({ 'three/text': 'v1', 'three/mode': 'm' });
    const before = await synced('FROM base\nCOPY three /three\n');
    const [text, mode] = [before.at('/three/text'), before.at('/three/mode')];
    write('three/text', 'v2');
    appendFileSync(joinPath(source, 'three/text'), ' and more');
    chmodSync(joinPath(source, 'three/mode'), 0o600);
    const after = await synced('FROM base\nCOPY three /three\n');
    expect([readFileSync(text, 'utf8'), lstatSync(mode).mode & 0o777]).toEqual(['v1', 0o644]);
    expect(after.read('/three/text')).toBe('v2 and more');
    expect(after.view.lstat('/three/mode')?.mode).toBe(0o600);
  });

  test('a file copied to two places is two files, whichever layers they are in', async () => {
    folder({ 'four/a': 'a' });
    const { view } = await synced(
      'FROM base\nCOPY four/a /x/\nCOPY four/a /y/\nCOPY four /z\nCOPY --link four/a /w/\n',
    );
    const inodes = ['/x/a', '/y/a', '/z/a', '/w/a'].map((path) => view.lstat(path)?.ino);
    expect(new Set(inodes).size).toBe(4);
  });

  test('a file that is sent once is linked into each layer that wants it, but has one path in a tree', async () => {
    folder({ 'six/a': 'the first', 'six/b': 'the second', 'six/c': 'the third' });
    const inode = (path: string) => lstatSync(path).ino;
    const text = 'FROM base\nCOPY six/a /x/\nCOPY six /y\n';
    await synced(text);
    write('six/c', 'changed');
    const { at, read, sent } = await synced(text);
    expect([sent, read('/y/c')]).toEqual([['six/c'], 'changed']);
    const linked = ['/x/a', '/y/a', '/y/b', '/y/c'].filter((path) => {
      return inode(at(path)) === inode(kept(`six/${path.at(-1)}`));
    });
    expect(linked).toEqual(builds.engine.store.shared ? [] : ['/x/a', '/y/b', '/y/c']);
    const merged = await synced('FROM base\nCOPY --link six /y\nCOPY --link six /z\nCOPY six/b /w/\n');
    const paths = ['a', 'b', 'c'].flatMap((name) => [`/y/${name}`, `/z/${name}`]);
    const inodes = [...paths, '/w/b'].map((path) => merged.view.lstat(path)?.ino);
    expect(new Set(inodes).size).toBe(7);
    expect(paths.map(merged.read)).toEqual(
      ['the first', 'the second', 'changed'].flatMap((text) => [text, text]),
    );
  });

  test('disk usage counts a file once, and pruning the folder leaves the layers whole', async () => {
    folder({ 'five/large': 'x'.repeat(300_000), 'five/alone': 'y'.repeat(100_000) });
    const folders = keptUnder(builds.engine.store.root).clientFolders;
    const { at } = await synced('FROM base\nCOPY five/large /five/\nCOPY --chown=7 five/alone /five/\n');
    const large = at('/five/large');
    const sizes = (await folders.list()).map(({ size }) => size);
    expect(Math.max(...sizes)).toBeGreaterThan(90_000);
    if (!builds.engine.store.shared) expect(Math.max(...sizes)).toBeLessThan(290_000);
    await prune(builds.engine, { all: true });
    expect(await folders.list()).toEqual([]);
    expect(readFileSync(large, 'utf8')).toBe('x'.repeat(300_000));
  });
});
