/** Names of files that are no UTF-8, through whole builds: they stay the bytes they are, whichever way they come and go. */
import { execFileSync } from 'node:child_process';
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEngine } from '../../src/engine/engine.ts';
import { loadImages } from '../../src/images/load.ts';
import { build, type DockerfileOptions } from '../../src/sdk/build.ts';
import { migrateStore } from '../../src/upkeep/migrate/migrate.ts';
import { closePool } from '../../src/workers/pool.ts';
import { Builds } from '../kit/builds.ts';
import { makeByteTree, readByteTree } from '../kit/byte-tree.ts';
import { onStores } from '../kit/stores.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');

onStores('names that are no UTF-8', (store) => {
  const builds = new Builds();
  beforeAll(() => builds.open(store.options()));
  afterAll(async () => {
    await builds.close();
    await closePool();
  });

  const folder = () => mkdtempSync(join(builds.dir, 'bytes-'));
  /** A context with a Dockerfile, a Latin-1 character a byte, and some files. */
  const context = (dockerfile: string, names: string[] = [], ignore?: string) => {
    const dir = folder();
    writeFileSync(join(dir, 'Dockerfile'), bytes(dockerfile));
    if (ignore !== undefined) writeFileSync(join(dir, '.dockerignore'), bytes(ignore));
    for (const name of names)
      writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), bytes(name)]), bytes(name));
    return dir;
  };
  const run = async (from: string | Readable, options: Partial<DockerfileOptions> = {}) => {
    builds.steps.clear();
    await build({
      context: from,
      engine: builds.engine,
      credentials: async () => undefined,
      progress: { vertex: (event) => void builds.steps.set(event.name, event) },
      ...options,
    });
  };
  /** Builds into a folder, and tells what is in it. */
  const filesOf = async (from: string | Readable, options: Partial<DockerfileOptions> = {}) => {
    const dest = folder();
    await run(from, { outputs: [{ type: 'local', attrs: {}, sink: { files: dest } }], ...options } as never);
    return readByteTree(dest);
  };

  test('a context, as a folder and as an upload, with the same cache key', async () => {
    const dir = context('FROM scratch\nCOPY tree /\n');
    makeByteTree(join(dir, 'tree'), ['d\xe9', 'l\xe9', 't\xe8', '\xff', 'caf\xe9', 'caf\xe8', 'caf\xc3\xa9']);
    const wanted = readByteTree(join(dir, 'tree'));
    expect(await filesOf(dir)).toEqual(wanted);
    execFileSync('tar', ['-C', dir, '--format=ustar', '-cf', `${dir}.tar`, '.']);
    expect(await filesOf(createReadStream(`${dir}.tar`))).toEqual(wanted);
    expect(builds.steps.get('[1/1] COPY tree /')?.cached).toBe(true);
  });

  test('COPY and ADD by name and by pattern, and .dockerignore', async () => {
    const lines = [
      'COPY caf\xe9 /one',
      'COPY a*\xe9? /many/',
      'ADD --chmod=600 caf\xe8 /d\xe9/',
      'COPY --exclude=*\xe9 caf* /not/',
    ];
    const names = ['caf\xe9', 'caf\xe8', 'caf\xe7', 'a1\xe9x', 'a2\xe9\xff', 'a3\xe8x'];
    const dir = context(`FROM scratch\n${lines.join('\n')}\n# caf\xe9\n`, names, '*\xe7\n');
    expect(await filesOf(dir)).toEqual({
      one: 'caf\xe9',
      many: '/',
      'many/a1\xe9x': 'a1\xe9x',
      'many/a2\xe9\xff': 'a2\xe9\xff',
      'd\xe9': '/',
      'd\xe9/caf\xe8': 'caf\xe8',
      not: '/',
      'not/caf\xe8': 'caf\xe8',
    });
    expect([...builds.steps.keys()]).toContain('[1/4] COPY caf\\xe9 /one');
    const gone = context('FROM scratch\nCOPY caf\xe7 /\n', ['caf\xe7'], 'caf\xe7');
    await expect(filesOf(gone)).rejects.toThrow('"/caf\\xe7": not found');
  });

  describe('what a step makes', () => {
    const made = `FROM base AS made
RUN mkdir -p /d && cd /d && for n in 351 350 377; do printf "$n" > "$(printf "caf\\\\$n")"; done && ln -s "$(printf '\\351')" "$(printf 'l\\350')" && ln "$(printf 'caf\\377')" hard`;
    const wanted = {
      'caf\xe9': '351',
      'caf\xe8': '350',
      'caf\xff': '/+377',
      hard: '/+377',
      'l\xe8': '-> \xe9',
    };

    test('is copied to other stages, linked too, and changed and deleted in later layers', async () => {
      const steps = `${made}
FROM scratch AS files
COPY --from=made /d /
FROM scratch AS linked
COPY --link --from=made /d /in/
COPY --link --from=made /d/caf\xe8 /in/again
FROM made AS changed
RUN cd /d && rm hard "$(printf 'caf\\350')" && mv "$(printf 'caf\\351')" "$(printf 'caf\\352')"
FROM scratch AS changes
COPY --from=changed /d /
`;
      const dir = context(steps);
      const files = await filesOf(dir, { target: 'files' });
      expect(files).toEqual(wanted);
      const linked = await filesOf(dir, { target: 'linked' });
      expect(linked).toMatchObject({ 'in/caf\xe9': '351', 'in/again': '350' });
      const changes = await filesOf(dir, { target: 'changes' });
      expect(changes).toEqual({ 'caf\xea': '351', 'caf\xff': '377', 'l\xe8': '-> \xe9' });
    });

    test('is in archives and images, and in what is built on them elsewhere', async () => {
      const dir = context(`${made}\n`);
      const out = join(folder(), 'out');
      const sink = (path: string) => ({ tar: async () => createWriteStream(path) });
      await run(dir, {
        tags: ['made'],
        outputs: [
          { type: 'image', attrs: {} },
          { type: 'tar', attrs: {}, sink: sink(`${out}.tar`) },
          { type: 'docker', attrs: {}, sink: sink(`${out}-docker.tar`) },
        ],
      } as never);
      mkdirSync(out);
      execFileSync('tar', ['-C', out, '-xf', `${out}.tar`, 'd']);
      expect(readByteTree(join(out, 'd'))).toEqual(wanted);
      expect((await builds.look('made')).list('/d')).toContain('/d/caf\udce9');

      const other = new Builds();
      await other.open(store.kind === 'local' ? {} : { ...store.options(), root: join(other.dir, 'root') });
      try {
        await loadImages(other.engine.store, createReadStream(`${out}-docker.tar`));
        const on = await other.build(
          'FROM made\nRUN cd /d && for f in caf*; do printf "%s " "$f"; done | busybox od -An -tx1 > /hex; rm "$(printf \'caf\\350\')"',
        );
        expect(on.read('/hex').replaceAll(/\s+/g, ' ')).toContain('63 61 66 e8 20 63 61 66 e9');
        expect(on.list('/d')).toContain('/d/caf\udce9');
        expect(on.list('/d')).not.toContain('/d/caf\udce8');
      } finally {
        await other.close();
      }
    });

    test('moves to the other store', async () => {
      if (store.kind === 'local') return;
      await run(context(`${made}\n`), { tags: ['made'] });
      const target = await openEngine({ root: join(builds.dir, 'moved'), imageStore: 'local' });
      try {
        await migrateStore(builds.engine, target);
        const there = new Builds();
        there.engine = target;
        expect((await there.look('made')).list('/d')).toContain('/d/caf\udce9');
      } finally {
        await target.close();
      }
    });

    test('can be mounted, and be where something is mounted', async () => {
      const dir = context(
        `${made}\nFROM base\nRUN --mount=from=made,source=/d/caf\xe9,target=/m\xe8 cat /m* > /out\n`,
      );
      await run(dir, { tags: ['mounted'] });
      expect((await builds.look('mounted')).read('/out')).toBe('351');
    });
  });

  test('a command that is no UTF-8 is refused with its line', async () => {
    const dir = context('FROM base\nRUN echo caf\xe9\n');
    await expect(run(dir)).rejects.toMatchObject({
      code: 'invalid',
      hop: 'exec',
      message: expect.stringContaining('must be UTF-8: "echo caf\\xe9"'),
      source: { ranges: [{ start: { line: 2 } }] },
    });
  });

  test('labels are JSON, which is UTF-8', async () => {
    await run(context('FROM scratch\nLABEL a="caf\xe9"\nCOPY Dockerfile /\n'), { tags: ['label'] });
    const { config, history } = await builds.look('label');
    expect(config.Labels).toEqual({ a: 'caf\ufffd' });
    expect(history.join()).not.toContain('\udce9');
  });
});
