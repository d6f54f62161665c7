/** Cache records: what they hold, which keys lead to them, what pruning forgets and what it must remember. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Cache, type KeyParts } from '../../src/cache/cache.ts';
import { schema } from '../../src/cache/schema.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { SerializedRef } from '../../src/store/ref.ts';

let folder: string;
let cache: Cache;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drydock-cache-'));
  cache = new Cache(folder);
});
afterEach(() => {
  vi.useRealTimers();
  cache.close();
  rmSync(folder, { recursive: true, force: true });
});

const id = (name: string) => digestOf(`record ${name}`);
const key = (name: string) => digestOf(`key ${name}`);
const snapshot = (name: string): SerializedRef => ({ kind: 'snapshot', key: name });

function parts(deps: string[] = [], kind: KeyParts['kind'] = 'definition'): KeyParts {
  return {
    kind,
    op: digestOf('op'),
    deps: deps.map((name) => ({ id: id(name), index: 0, selector: '', content: false })),
  };
}

/** A record with one result and one key, built on other records. */
function save(name: string, deps: string[] = [], size = 10): void {
  cache.save({ id: id(name), description: `RUN ${name}`, type: 'regular', results: [snapshot(name)], size }, [
    { key: key(name), parts: parts(deps) },
  ]);
}

/** Moves the clock, so that records have different times. */
function tick(): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 1000 });
}

describe('records', () => {
  test('are found by id and by key, with all that was saved', () => {
    const before = Date.now();
    save('a');
    const record = cache.byId(id('a'));
    expect(record).toMatchObject({
      id: id('a'),
      description: 'RUN a',
      type: 'regular',
      results: [{ kind: 'snapshot', key: 'a' }],
      size: 10,
      usageCount: 1,
    });
    expect(record?.createdAt).toBeGreaterThanOrEqual(before);
    expect(record?.lastUsedAt).toBe(record?.createdAt);
    expect(cache.byKey(key('a'))).toEqual(record);
    expect(cache.known(id('a'))).toBe(true);
  });

  test('that were never saved are not there', () => {
    expect(cache.byId(id('a'))).toBeUndefined();
    expect(cache.byKey(key('a'))).toBeUndefined();
    expect(cache.known(id('a'))).toBe(false);
    expect(cache.list()).toEqual([]);
    expect(cache.totalSize()).toBe(0);
  });

  test('hold results of every kind, several or none', () => {
    const image: SerializedRef = {
      kind: 'image',
      ref: 'docker.io/library/alpine:3',
      layers: [
        { descriptor: { mediaType: 'x', digest: digestOf('blob'), size: 3 }, diffId: digestOf('diff') },
      ],
    };
    const results = [image, { kind: 'empty' } as const, snapshot('s')];
    cache.save({ id: id('many'), description: '', type: 'source.git.checkout', results, size: 0 }, []);
    expect(cache.byId(id('many'))?.results).toEqual(results);
    cache.save({ id: id('none'), description: '', type: 'frontend', results: [], size: 0 }, []);
    expect(cache.byId(id('none'))?.results).toEqual([]);
  });

  test('saved again take the new result and keep their age and use count', () => {
    save('a');
    const first = cache.byId(id('a'))!;
    cache.touch(id('a'));
    tick();
    cache.save(
      { id: id('a'), description: 'again', type: 'internal', results: [snapshot('b')], size: 7 },
      [],
    );
    expect(cache.byId(id('a'))).toMatchObject({
      description: 'again',
      type: 'internal',
      results: [snapshot('b')],
      size: 7,
      createdAt: first.createdAt,
      usageCount: 2,
    });
    expect(cache.byId(id('a'))!.lastUsedAt).toBeGreaterThan(first.lastUsedAt);
    expect(cache.byKey(key('a'))?.description).toBe('again');
  });

  test('are listed least recently used first, with their sum', () => {
    for (const name of ['a', 'b', 'c']) {
      tick();
      save(name);
    }
    tick();
    cache.touch(id('a'));
    expect(cache.list().map((record) => record.description)).toEqual(['RUN b', 'RUN c', 'RUN a']);
    expect(cache.totalSize()).toBe(30);
  });

  test('are read in parts, each once, though some are used, saved and dropped meanwhile', () => {
    for (let i = 0; i < 1200; i++) save(`r${i}`);
    const seen: string[] = [];
    for (const page of cache.pages()) {
      if (seen.length === 0) {
        tick();
        for (let i = 0; i < 1200; i += 3) cache.touch(id(`r${i}`));
        save('late');
        cache.drop([id('r1')]);
      }
      seen.push(...page.map(({ description }) => description));
    }
    expect(new Set(seen).size).toBe(seen.length);
    for (let i = 2; i < 1200; i += 3) expect(seen, `r${i}`).toContain(`RUN r${i}`);
    expect(cache.counts()).toEqual({ live: 1200, bare: 1 });
    expect(cache.totalSize()).toBe(12_000);
  });

  test('are counted and summed also when an older Drydock made them', () => {
    save('a');
    save('b');
    cache.remember({ id: id('c'), description: 'c', type: 'regular' }, []);
    cache.close();
    const db = new DatabaseSync(join(folder, 'cache.db'));
    db.exec(`DROP INDEX records_by_use; DROP TABLE total; PRAGMA user_version = 2;
      DROP TRIGGER record_added; DROP TRIGGER record_removed; DROP TRIGGER record_changed;
      ALTER TABLE records DROP COLUMN made_for; DROP TABLE reached;`);
    db.close();
    cache = new Cache(folder);
    expect([cache.totalSize(), cache.counts()]).toEqual([20, { live: 2, bare: 1 }]);
    cache.prune([id('a')]);
    expect([cache.totalSize(), cache.counts()]).toEqual([10, { live: 1, bare: 0 }]);
  });

  test('are all there, with their sums, when an older Drydock kept them in the order of their ids', () => {
    cache.close();
    rmSync(join(folder, 'cache.db'));
    const db = new DatabaseSync(join(folder, 'cache.db'));
    for (const step of schema.slice(0, 5)) db.exec(step);
    db.exec('PRAGMA user_version = 5');
    const insert = db.prepare(
      `INSERT INTO records (id, description, type, results, size, created_at, last_used_at, usage_count, made_for)
       VALUES (?, ?, 'regular', ?, ?, 1, ?, 3, ?)`,
    );
    const madeFor = { project: '/src', images: ['docker.io/library/app:latest'] };
    for (const [i, name] of ['c', 'a', 'b'].entries()) {
      insert.run(id(name), name, JSON.stringify([snapshot(name)]), 10 + i, 100 - i, JSON.stringify(madeFor));
    }
    insert.run(id('bare'), 'bare', null, 0, 1, null);
    db.close();
    cache = new Cache(folder);
    expect(cache.list().map(({ description }) => description)).toEqual(['b', 'a', 'c']);
    expect([cache.totalSize(), cache.counts()]).toEqual([33, { live: 3, bare: 1 }]);
    expect(cache.byId(id('a'))).toEqual({
      ...{
        id: id('a'),
        description: 'a',
        type: 'regular',
        owner: undefined,
        madeFor,
        results: [snapshot('a')],
      },
      ...{ size: 11, createdAt: 1, lastUsedAt: 99, usageCount: 3 },
    });
    expect(cache.byId(id('bare'))?.results).toBeUndefined();
    cache.prune([id('b')]);
    expect([cache.totalSize(), cache.counts()]).toEqual([21, { live: 2, bare: 0 }]);
  });

  test('keep what a step asked for by its proxy, and forget it with themselves', () => {
    const asked = { url: 'http://a.example/f', digest: 'sha256:00' };
    const network = { requests: [], materials: [asked], incomplete: [] };
    const saveStep = (name: string, reached: typeof network | undefined) =>
      cache.save(
        { id: id(name), description: name, type: 'regular', results: [snapshot(name)], size: 1, reached },
        [{ key: key(name), parts: parts() }],
      );
    for (const name of ['a', 'b', 'c']) saveStep(name, network);
    expect(cache.reached(id('a'))).toEqual(network);
    // It ran anew, without.
    saveStep('c', undefined);
    expect(cache.reached(id('c'))).toBeUndefined();
    cache.prune([id('a')]);
    expect([cache.reached(id('a')), cache.reached(id('b'))]).toEqual([undefined, network]);
    cache.prune([id('b'), id('c')]);
    expect(cache.reached(id('b'))).toBeUndefined();
  });

  test('survive a restart', () => {
    save('a');
    cache.close();
    cache = new Cache(folder);
    expect(cache.byKey(key('a'))?.results).toEqual([snapshot('a')]);
  });
});

describe('keys', () => {
  test('several lead to one record', () => {
    save('a');
    cache.alias(key('by content'), id('a'), parts([], 'content'));
    expect(cache.byKey(key('by content'))?.id).toBe(id('a'));
    expect(cache.byKey(key('a'))?.id).toBe(id('a'));
  });

  test('a key that is given to another record leads there from then on', () => {
    save('a');
    save('b');
    cache.alias(key('a'), id('b'), parts());
    expect(cache.byKey(key('a'))?.id).toBe(id('b'));
    expect(cache.byId(id('a'))?.results).toEqual([snapshot('a')]);
  });

  test('a key of a record that is gone leads nowhere', () => {
    cache.alias(key('x'), id('gone'), parts());
    expect(cache.byKey(key('x'))).toBeUndefined();
    expect(cache.known(id('gone'))).toBe(false);
  });
});

describe('content digests', () => {
  test('are remembered per tree and selection, and forgotten with the tree', () => {
    cache.putContentDigest('snapshot:a', '/etc', digestOf('1'));
    cache.putContentDigest('snapshot:a', '/', digestOf('2'));
    cache.putContentDigest('snapshot:b', '/etc', digestOf('3'));
    cache.putContentDigest('snapshot:b', '/etc', digestOf('4'));
    expect(cache.contentDigest('snapshot:a', '/etc')).toBe(digestOf('1'));
    expect(cache.contentDigest('snapshot:a', '/usr')).toBeUndefined();
    cache.forgetDigests((ref) => ref !== 'snapshot:a');
    expect(cache.contentDigest('snapshot:a', '/')).toBeUndefined();
    expect(cache.contentDigest('snapshot:b', '/etc')).toBe(digestOf('4'));
  });
});

describe('pruning', () => {
  test('forgets a record nothing is built on, with its keys', () => {
    save('a');
    cache.alias(key('other'), id('a'), parts());
    cache.prune([id('a')]);
    expect(cache.known(id('a'))).toBe(false);
    expect(cache.byKey(key('a'))).toBeUndefined();
    expect(cache.byKey(key('other'))).toBeUndefined();
    expect(cache.totalSize()).toBe(0);
  });

  test('keeps the identities that a live record is keyed by, so that it still hits', () => {
    save('base');
    save('middle', ['base']);
    save('top', ['middle']);
    cache.prune([id('base'), id('middle')]);
    // No results, but who they are is known: the keys of `top` are still made from them.
    for (const name of ['base', 'middle']) {
      expect(cache.byKey(key(name))).toMatchObject({ id: id(name), results: undefined, size: 0 });
      expect(cache.known(id(name))).toBe(true);
    }
    expect(cache.byKey(key('top'))?.results).toEqual([snapshot('top')]);
    expect(cache.list().map((record) => record.id)).toEqual([id('top')]);
    expect(cache.totalSize()).toBe(10);
    // When the live one goes, its identities go too.
    cache.prune([id('top')]);
    for (const name of ['base', 'middle', 'top']) expect(cache.known(id(name)), name).toBe(false);
  });

  test('keeps an identity that only an alias of a live record names', () => {
    save('base');
    save('other');
    save('top', ['base']);
    cache.alias(key('top by content'), id('top'), parts(['other'], 'content'));
    cache.prune([id('base'), id('other')]);
    expect(cache.known(id('base'))).toBe(true);
    expect(cache.known(id('other'))).toBe(true);
  });

  test('an owner is told the sum of its own records and of everybody’s', () => {
    save('all');
    for (const owner of ['ann', 'bob']) {
      const record = {
        id: id(owner),
        description: '',
        type: 'regular' as const,
        owner,
        results: [],
        size: 5,
      };
      cache.save(record, []);
    }
    expect([cache.totalSize('ann'), cache.totalSize()]).toEqual([15, 20]);
  });

  test('a pruned identity gets its result back when it is built again', () => {
    save('base');
    save('top', ['base']);
    cache.prune([id('base')]);
    save('base');
    expect(cache.byKey(key('base'))?.results).toEqual([snapshot('base')]);
    expect(cache.list()).toHaveLength(2);
  });

  test('leaves nothing of what it forgets in the database', () => {
    for (let i = 0; i < 50; i++) save(`n${i}`, i === 0 ? [] : [`n${i - 1}`]);
    cache.prune(cache.list().map((record) => record.id));
    const db = new DatabaseSync(join(folder, 'cache.db'), { readOnly: true });
    for (const table of ['records', 'keys', 'links']) {
      expect(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n, table).toBe(0);
    }
    db.close();
  });

  test('in turns, what is saved or named meanwhile stays with all that it is built on', () => {
    for (let i = 0; i < 300; i++) save(`n${i}`, i === 0 ? [] : [`n${i - 1}`]);
    cache.drop(cache.list().map((record) => record.id));
    // The search for what is built on begins here.
    save('live');
    const work = cache.forgetting();
    work.next();
    save('late', ['n200']);
    while (!work.next().done);
    for (let i = 0; i < 300; i++) expect(cache.known(id(`n${i}`)), `n${i}`).toBe(i <= 200);
    expect(cache.byKey(key('late'))?.results).toEqual([snapshot('late')]);
  });

  test('in turns, what another process saves meanwhile stays with all that it is built on', () => {
    for (let i = 0; i < 300; i++) save(`n${i}`, i === 0 ? [] : [`n${i - 1}`]);
    cache.drop(cache.list().map((record) => record.id));
    // The search for what is built on begins here.
    save('live');
    const work = cache.forgetting();
    work.next();
    const other = new Cache(folder);
    const record = { id: id('late'), description: '', type: 'regular' as const, results: [], size: 1 };
    other.save(record, [{ key: key('late'), parts: parts(['n200']) }]);
    other.close();
    while (!work.next().done);
    const known = Array.from({ length: 300 }, (_, i) => cache.known(id(`n${i}`)));
    expect(known).toEqual(known.map((_, i) => i <= 200));
  });

  test('of everything leaves a cache that counts, finds and forgets as a new one', () => {
    for (let i = 0; i < 50; i++) save(`n${i}`, i === 0 ? [] : [`n${i - 1}`]);
    cache.remember({ id: id('bare'), description: '', type: 'regular' }, []);
    cache.prune(cache.list().map((record) => record.id));
    expect(cache.counts()).toEqual({ live: 0, bare: 0 });
    expect(cache.totalSize()).toBe(0);
    save('base', [], 3);
    save('top', ['base'], 4);
    save('alone', [], 5);
    expect(cache.counts()).toEqual({ live: 3, bare: 0 });
    cache.prune([id('base'), id('alone')]);
    expect(cache.counts()).toEqual({ live: 1, bare: 1 });
    expect(cache.totalSize()).toBe(4);
    expect(cache.known(id('alone'))).toBe(false);
  });

  test('of ids that are not there is fine', () => {
    save('a');
    cache.prune([id('never')]);
    cache.prune([]);
    expect(cache.list()).toHaveLength(1);
  });
});

describe('several processes', () => {
  test('make, open and fill one cache at the same moment', async () => {
    const fresh = join(folder, 'fresh');
    rmSync(fresh, { recursive: true, force: true });
    await promisify(execFile)('mkdir', [fresh]);
    const names = ['p', 'q', 'r', 's'];
    const script = join(import.meta.dirname, 'saver.ts');
    await Promise.all(
      names.map((name) =>
        promisify(execFile)(process.execPath, [script, fresh, name, '40'], { timeout: 30_000 }),
      ),
    );
    const shared = new Cache(fresh);
    try {
      expect(shared.list()).toHaveLength(4 * 40 + 1);
      expect(shared.totalSize()).toBe(4 * 40);
      for (const name of names) {
        expect(shared.byKey(digestOf(`key ${name} 39`))?.results).toEqual([snapshot(`${name}-39`)]);
      }
    } finally {
      shared.close();
    }
  });

  test('see what another one saves and prunes at once', () => {
    const other = new Cache(folder);
    save('a');
    expect(other.byKey(key('a'))?.results).toEqual([snapshot('a')]);
    other.prune([id('a')]);
    expect(cache.byKey(key('a'))).toBeUndefined();
    other.close();
  });

  test('a failed save leaves nothing of itself', () => {
    const bad = { ...parts(), deps: [{ id: id('x'), index: 0, selector: undefined, content: false }] };
    expect(() =>
      cache.save({ id: id('a'), description: '', type: 'regular', results: [], size: 0 }, [
        { key: key('a'), parts: bad as never },
      ]),
    ).toThrow();
    expect(cache.known(id('a'))).toBe(false);
    save('a');
    expect(cache.byKey(key('a'))).toBeDefined();
  });
});

test('a cache that is damaged or too new says so', () => {
  const make = (text: (file: string) => void) => {
    const dir = mkdtempSync(join(folder, 'bad-'));
    text(join(dir, 'cache.db'));
    return () => new Cache(dir).close();
  };
  expect(make((file) => writeFileSync(file, 'no database, whatever it is '.repeat(50)))).toThrow(
    expect.objectContaining({ code: 'corrupt', hop: 'cache', hint: expect.stringContaining('cache.db') }),
  );
  const newer = (file: string) => {
    const db = new DatabaseSync(file);
    db.exec('PRAGMA user_version = 1000');
    db.close();
  };
  expect(make(newer)).toThrow(expect.objectContaining({ code: 'unsupported', hop: 'cache' }));
});
