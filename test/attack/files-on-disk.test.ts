/**
 * What the disk gives away: as another user of the machine to whom nothing of a root may be open, and to whoever reads
 * what is kept of builds, in which no password may be.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { History } from '../../src/api/buildkit/history/history.ts';
import { Content } from '../../src/pb/containerd/content_pb.js';
import type { BuildHistoryRecord } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import { closePool } from '../../src/workers/pool.ts';
import { ControlKit, failure } from '../api/buildkit/control-kit.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { onStores } from '../kit/stores.ts';

afterAll(closePool);

/** Runs a program as a user who is nobody in particular. */
const asNobody = (...argv: string[]) =>
  execFileSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', ...argv], {
    encoding: 'utf8',
  });

onStores('files below a root', (store) => {
  let dir: string;
  let root: string;
  let kit: ControlKit;
  const start = async () => {
    kit = await ControlKit.start({ ...store.options('files'), root });
  };
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'drydock-files-'));
    // As /var/lib is: the root's own rights are all that there is.
    chmodSync(dir, 0o755);
    root = join(dir, 'root');
    await start();
  });
  afterAll(async () => {
    await kit?.daemon.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** A build whose step leaves something of each kind: layers, blobs, records, cache mounts, a client's folder. */
  const build = async (text = '') => {
    const context = kit.folder({
      Dockerfile: `FROM scratch
COPY . /
RUN echo ${text} made >/made && chmod 644 /made
USER 65534:65534
RUN --mount=type=cache,target=/cache,uid=65534,gid=65534 --mount=type=secret,id=s,uid=65534 \\
  id -u && cat /made /run/secrets/s && echo kept >/cache/file && ls -l /cache
`,
    });
    busyboxRoot(context);
    return kit.solve(
      {
        Frontend: 'dockerfile.v0',
        Exporters: [{ Type: 'image', Attrs: { name: 'files.example/app' } }],
      },
      { dirs: { context, dockerfile: context }, secrets: { s: 'for nobody' } },
    );
  };

  /** What of the root nobody can open, below the root itself. */
  const openToNobody = () => {
    // `find` is told all names, which nobody could list, for they may be guessed.
    const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => join(root, name));
    const script = 'while IFS= read -r f; do if [ -r "$f" ] || [ -w "$f" ]; then echo "$f"; fi; done';
    return execFileSync(
      'setpriv',
      ['--reuid=65534', '--regid=65534', '--clear-groups', '/bin/sh', '-c', script],
      { input: `${names.join('\n')}\n`, encoding: 'utf8', maxBuffer: 64 << 20 },
    );
  };

  test('steps of other users run as ever', async () => {
    const { status } = await build();
    const printed = status.flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())).join('');
    expect(printed).toMatch(/^65534\nmade\nfor nobody/m);
    expect(printed).toContain('file');
  });

  test('another user reads and writes nothing', () => {
    expect(existsSync(join(root, 'cache.db')) || existsSync(join(root, 'containerd'))).toBe(true);
    expect(openToNobody()).toBe('');
    expect(() => asNobody('ls', root)).toThrow('Permission denied');
    expect(() => asNobody('touch', join(root, 'x'))).toThrow('Permission denied');
  });

  test('a root that was left open is closed when it is opened', async () => {
    await kit.daemon.halt();
    const parts = readdirSync(root);
    chmodSync(root, 0o777);
    for (const name of parts)
      chmodSync(join(root, name), statSync(join(root, name)).isDirectory() ? 0o755 : 0o644);
    expect(openToNobody()).not.toBe('');
    await kit.daemon.start();
    expect(asNobody('stat', '-c', '%a', root).trim()).toBe('755');
    expect(openToNobody().replace(join(root, 'daemon'), '').trim()).toBe('');
    await build('again');
    expect(openToNobody().replace(join(root, 'daemon'), '').trim()).toBe('');
  });
});

describe('passwords', () => {
  const secrets = {
    arg: 'hunter2-of-the-build-arg',
    proxy: 'pr0xy-pass',
    source: 'git-pass-word',
    query: 'query-token-1',
  };
  let kit: ControlKit;
  beforeAll(async () => {
    kit = await ControlKit.start({});
  });
  afterAll(() => kit.daemon.stop());

  const records = async (): Promise<BuildHistoryRecord[]> => {
    const found: BuildHistoryRecord[] = [];
    for await (const { record } of kit.control.listenBuildHistory({ EarlyExit: true })) {
      if (record !== undefined) found.push(record);
    }
    return found;
  };
  const text = (value: unknown) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? String(v) : v));
  const blob = async (digest: string) => {
    const parts: Uint8Array[] = [];
    for await (const { data } of createClient(Content, kit.transport).read({ digest })) parts.push(data);
    return Buffer.concat(parts).toString('latin1');
  };

  test('of build args, proxies and URLs are in nothing that is kept, and the build has them', async () => {
    const out = kit.folder({});
    const context = kit.folder({
      Dockerfile: `FROM scratch AS base
COPY . /
ARG DEPLOY_TOKEN HTTPS_PROXY
# The output is cut into pieces in the middle of it.
RUN printf 'the token is hunter2-of'; sleep 0.1; printf -- '-the-build-arg\\n'; echo via $HTTPS_PROXY $DEPLOY_TOKEN
RUN echo $DEPLOY_TOKEN >/out && test $DEPLOY_TOKEN = $(cat /out)
FROM base AS failing
RUN echo $DEPLOY_TOKEN; curl https://me:${secrets.source}@git.example/x?token=${secrets.query} $DEPLOY_TOKEN
FROM scratch
COPY --from=base /out /
`,
    });
    busyboxRoot(context);
    const FrontendAttrs = {
      'build-arg:DEPLOY_TOKEN': secrets.arg,
      'build-arg:HTTPS_PROXY': `http://me:${secrets.proxy}@proxy.example:3128`,
      'build-arg:GREETING': 'plain words',
    };
    const session = { dirs: { context, dockerfile: context }, outputs: { 0: { dir: out } } };
    const local = { Exporters: [{ Type: 'local', Attrs: {} }] };
    await kit.solve({ Frontend: 'dockerfile.v0', FrontendAttrs, ...local }, session);
    expect(readFileSync(join(out, 'out'), 'utf8')).toBe(`${secrets.arg}\n`);
    const target = { ...FrontendAttrs, target: 'failing' };
    const error = await failure(kit.solve({ Frontend: 'dockerfile.v0', FrontendAttrs: target }, session));
    expect(error.rawMessage).toContain('did not complete successfully');

    const kept = await records();
    expect(kept).toHaveLength(2);
    expect(kept[1]?.FrontendAttrs).toMatchObject({
      'build-arg:DEPLOY_TOKEN': 'xxxxx',
      'build-arg:HTTPS_PROXY': 'http://xxxxx:xxxxx@proxy.example:3128',
      'build-arg:GREETING': 'plain words',
    });
    const texts = [text(kept)];
    for (const { logs, trace, externalError } of kept) {
      for (const found of [logs, trace, externalError]) if (found) texts.push(await blob(found.digest));
    }
    texts.push(text(await kit.control.diskUsage({})), text(kit.daemon.log()));
    expect(texts).toHaveLength(8);
    for (const each of texts) {
      for (const secret of Object.values(secrets)) {
        expect(each).not.toContain(secret);
        // A detail of an error holds files in base64.
        for (const start of [0, 1, 2]) {
          const inside = Buffer.from(`${'.'.repeat(start)}${secret}`).toString('base64');
          expect(each).not.toContain(inside.slice(4, -4));
        }
      }
    }
    const output = await blob(kept[1]!.logs!.digest);
    expect(output).toContain('the token is xxx');
    expect(output).toContain('via http://xx:xxxxxxxxxx@proxy.example:3128 xxx');

    // Nor are they in the files themselves, databases' old pages among them. Layers hold what steps have written.
    await kit.daemon.halt();
    const root = join(kit.daemon.dir, 'root');
    for (const name of readdirSync(root).filter((each) => /\.db/.test(each))) {
      const bytes = readFileSync(join(root, name), 'latin1');
      for (const secret of Object.values(secrets))
        expect([name, bytes.includes(secret)]).toEqual([name, false]);
    }
    await kit.daemon.start();
  });

  test('in records of older versions are gone, from the file as well', async () => {
    const file = join(kit.daemon.dir, 'old', 'history.db');
    mkdirSync(dirname(file));
    const old = new DatabaseSync(file);
    old.exec(`CREATE TABLE builds (ref TEXT PRIMARY KEY, completed_at REAL NOT NULL, pinned INTEGER NOT NULL DEFAULT 0,
        record BLOB NOT NULL) STRICT;
      CREATE TABLE blobs (ref TEXT NOT NULL REFERENCES builds (ref) ON DELETE CASCADE, digest TEXT NOT NULL,
        size INTEGER NOT NULL, created_at REAL NOT NULL, data BLOB NOT NULL, PRIMARY KEY (ref, digest)) STRICT;
      INSERT INTO builds VALUES ('old', 1, 1, CAST('password ${secrets.arg}' AS BLOB));
      INSERT INTO blobs VALUES ('old', 'sha256:1', 1, 1, CAST('log ${secrets.arg}' AS BLOB));
      PRAGMA user_version = 2`);
    old.close();
    chmodSync(file, 0o644);
    expect(readFileSync(file, 'latin1')).toContain(secrets.arg);
    const history = new History(file);
    expect(await Array.fromAsync(history.list({ owner: '', all: true }))).toEqual([]);
    await history.close();
    expect(readFileSync(file, 'latin1')).not.toContain(secrets.arg);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});
