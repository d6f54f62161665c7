/** Notes of builds without a daemon: which stay, which go, and what becomes of damaged ones. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openHistory } from '../../src/api/buildkit/history/open.ts';
import { Jobs } from '../../src/api/buildkit/jobs/jobs.ts';
import { noteHelp } from '../../src/api/notes/help.ts';
import type { Built } from '../../src/engine/index.ts';
import type { StatusResponse } from '../../src/pb/moby/buildkit/v1/status_pb.js';
import { noteBuild, type RecordedBuild } from '../../src/records/index.ts';
import { NoteFile } from '../../src/records/note-file.ts';

const patience = { timeout: 120_000 };

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'drydock-notes-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const folder = () => join(root, 'notes');
const everybody = { owner: '', all: true };
const built = { metadata: {}, result: {}, descriptors: new Map(), documents: [] } as unknown as Built;
const vertex = `sha256:${'a'.repeat(64)}` as const;
const begin = (options: Record<string, string> = {}) =>
  noteBuild(
    root,
    async () => noteHelp,
  )({
    ...{ owner: 'peer 7', frontend: 'dockerfile.v0' },
    options,
    outputs: [],
  });

async function refs(): Promise<string[]> {
  const history = openHistory(root);
  try {
    await history.settled();
    return (await Array.fromAsync(history.list(everybody))).map(({ Ref }) => Ref);
  } finally {
    await history.close();
  }
}

test('a hundred notes wait; the oldest of more go, notes of killed processes first', () => {
  const dead = Number(execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }));
  mkdirSync(folder());
  writeFileSync(join(folder(), `.${dead}-left`), 'half a note');
  writeFileSync(join(folder(), '.1-written'), 'another process writes this one');
  // One of sixteen looks.
  for (let at = 16; at <= 16 * 8; at++) {
    const file = new NoteFile(folder(), `ref-${at}`);
    file.add({});
    file.finish(at);
  }
  const names = readdirSync(folder()).sort();
  expect(names[0]).toBe('.1-written');
  expect(names.slice(1)).toHaveLength(100);
  expect(names[1]).toMatch(/-ref-29$/);
  expect(statSync(join(folder(), names[1] ?? '')).mode & 0o777).toBe(0o600);
});

test('notes become records with their own times, and damaged ones are dropped', async () => {
  const build = begin();
  build.sink.vertex({ digest: vertex, inputs: [], name: 'step', started: 1, completed: 2 });
  await build.ended(built);
  writeFileSync(join(folder(), '000000000000001-cut'), '{"version":1,"owner":"peer 7","ref":"cut"');
  writeFileSync(join(folder(), '000000000000002-later'), '{"version":99}\n{}\n');
  execFileSync('mkfifo', [join(folder(), '000000000000003-fifo')]);
  symlinkSync('/dev/zero', join(folder(), '000000000000004-link'));
  const before = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await refs()).toEqual([build.ref]);
  expect(readdirSync(folder())).toEqual([]);
  const history = openHistory(root);
  const found = history.find({ owner: 'peer 7', all: false }, build.ref);
  expect(Number(found?.record.CompletedAt?.seconds) * 1000).toBeLessThanOrEqual(before);
  expect(history.find({ owner: 'peer 8', all: false }, build.ref)).toBeUndefined();
  await history.close();
});

test('hostile notes are dropped, leave no build under way, and the one beside them is taken in', async () => {
  const build = begin();
  await build.ended(built);
  const head = { ...{ version: 1, owner: '', ref: 'h', at: 1, frontend: '' }, options: {}, outputs: [] };
  const end = { at: Date.now(), vertices: [], statuses: [], warnings: [], details: { files: [], steps: {} } };
  const hostile = {
    'bad-error': [head, { ...end, error: '////' }],
    'bad-results': [head, { ...end, results: 7 }],
    'no-times': [
      { ...head, at: 'now' },
      { ...end, at: {} },
    ],
    'no-owner': [{ ...head, owner: [] }, end],
    'bad-output': [head, ['v', 1, 1, 7], end],
    'bad-vertices': [head, { ...end, vertices: [{ digest: vertex, inputs: 7, name: 7, started: 'x' }] }],
  };
  for (const [name, lines] of Object.entries(hostile)) {
    const text = lines.map((line) => JSON.stringify(line)).join('\n');
    writeFileSync(join(folder(), `000000000000001-${name}`), text);
  }
  const huge = join(folder(), '000000000000002-huge');
  writeFileSync(huge, '');
  truncateSync(huge, 600 << 20);
  const history = openHistory(root);
  const events: string[] = [];
  history.listen(everybody, ({ type, record }) => events.push(`${type} ${record.Ref}`));
  await history.settled();
  expect(history.active(everybody)).toEqual([]);
  expect((await Array.fromAsync(history.list(everybody))).map(({ Ref }) => Ref)).toContain(build.ref);
  for (const ref of ['h', build.ref]) {
    const started = events.filter((event) => event === `started ${ref}`);
    const over = events.filter((event) => event === `complete ${ref}` || event === `deleted ${ref}`);
    expect(over).toHaveLength(started.length);
  }
  await history.close();
  expect(readdirSync(folder())).toEqual([]);
});

test('a note whose record the disk does not take waits for room', async () => {
  const build = begin();
  await build.ended(built);
  const history = openHistory(root);
  const other = new DatabaseSync(join(root, 'history.db'));
  other.exec("CREATE TRIGGER full BEFORE INSERT ON builds BEGIN SELECT raise(ABORT, 'disk is full'); END");
  await history.settled();
  expect(readdirSync(folder())).toHaveLength(1);
  other.exec('DROP TRIGGER full');
  other.close();
  await history.settled();
  expect(history.find(everybody, build.ref)?.record.Ref).toBe(build.ref);
  await history.close();
  expect(readdirSync(folder())).toEqual([]);
});

test('a build whose last line no reader would take leaves no note', async () => {
  const build = begin();
  for (let i = 0; i < 40; i++)
    build.sink.vertex({ digest: `${vertex}${i}` as typeof vertex, inputs: [], name: 'x'.repeat(2 << 20) });
  await build.ended(built);
  expect(existsSync(folder()) ? readdirSync(folder()) : []).toEqual([]);
});

test('two that take notes in at the same time leave one record of each', async () => {
  const builds = [begin(), begin(), begin()];
  for (const build of builds) await build.ended(built);
  const found = await Promise.all([refs(), refs()]);
  for (const list of found) expect([...list].sort()).toEqual(builds.map(({ ref }) => ref).sort());
});

test('a secret that is printed in pieces, over more than what is written at once, is in no file', async () => {
  const secret = 'hunter-2222';
  const build = begin({ 'build-arg:TOKEN': secret });
  const log = (text: string) => build.sink.log({ vertex, stream: 1, timestamp: 1, data: Buffer.from(text) });
  for (let i = 0; i < 12; i++) {
    log(`${'x'.repeat(200_000)}\n`);
    log(secret.slice(0, 5));
    log(`${secret.slice(5)}\n`);
  }
  const during = readdirSync(folder()).map((name) => readFileSync(join(folder(), name)));
  const decoded = Buffer.concat(during)
    .toString()
    .split('\n')
    .flatMap((line) => (line.startsWith('[') && line.endsWith(']') ? [JSON.parse(line)[3]] : []))
    .map((data) => Buffer.from(String(data), 'base64').toString())
    .join('');
  expect(decoded.length).toBeGreaterThan(1_000_000);
  expect(decoded).not.toContain(secret);
  await build.failed(new Error(`it said ${secret}`));
  // It is large, and was taken in at once.
  expect(readdirSync(folder())).toEqual([]);
  const history = openHistory(root);
  const found = history.find(everybody, build.ref);
  expect(found?.record.error?.message).toBe('it said xxxxx');
  await history.close();
});

test('a disk that takes no note fails no build', async () => {
  writeFileSync(folder(), 'no folder');
  const build = begin();
  await build.ended(built);
  expect(await refs()).toEqual([]);
});

test('a command keeps to the limits of the daemon that had the history last', async () => {
  const count = async () => (await refs()).length;
  const daemon = openHistory(root, { limits: { maxEntries: 60, maxAge: Number.POSITIVE_INFINITY } });
  await daemon.close();
  for (let i = 0; i < 55; i++) await begin().ended(built);
  expect(await count()).toBe(55);
  await openHistory(root, { limits: {} }).close();
  expect(await count()).toBe(50);
});

const log = (build: RecordedBuild, text: string) =>
  build.sink.log({ vertex, stream: 1, timestamp: 1, data: Buffer.from(text) });
const step = { digest: vertex, inputs: [], name: 'step', started: 1 };

test('a build that runs is under way for others, with its steps and output, until it has ended', async () => {
  const jobs = new Jobs();
  const history = openHistory(root, { jobs });
  const heard: string[] = [];
  const stop = history.listen(everybody, ({ type, record }) => heard.push(`${type} ${record.Ref}`));
  const build = begin();
  build.sink.vertex(step);
  log(build, 'first line\n');
  await expect.poll(() => heard, patience).toEqual([`started ${build.ref}`]);
  expect(history.active({ owner: 'peer 8', all: false })).toEqual([]);
  const running = jobs.running(everybody, build.ref);
  const text = () => replayedText(running?.messages() ?? []);
  await expect.poll(text, patience).toBe('first line\n');
  expect(running?.counts).toMatchObject({ total: 1, completed: 0 });
  log(build, 'second line\n');
  build.sink.vertex({ ...step, completed: 2 });
  await build.ended(built);
  await history.settled();
  expect(history.active(everybody)).toEqual([]);
  expect(heard).toEqual([`started ${build.ref}`, `complete ${build.ref}`]);
  const past = (await history.statusOf(everybody, build.ref)) ?? [];
  expect(replayedText(await Array.fromAsync(past))).toBe('first line\nsecond line\n');
  expect(readdirSync(folder())).toEqual([]);
  stop();
  await history.close();
});

test('a secret is not shown while only a piece of it has come', async () => {
  const build = begin({ 'build-arg:TOKEN': 'hunter-2222' });
  build.sink.vertex(step);
  log(build, 'a line\nhunt');
  await expect.poll(shown, patience).toContain('"name":"step"');
  for (const name of ['later', 'even later', 'at last']) {
    build.sink.vertex({ ...step, name });
    await expect.poll(shown, patience).toContain(name);
  }
  log(build, 'er-2222\n');
  await expect.poll(shown, patience).toContain(Buffer.from('a line\nxxxx').toString('base64').slice(0, 12));
  const pieces = shown()
    .split('\n')
    .flatMap((line) => (line.startsWith('[') ? [Buffer.from(JSON.parse(line)[3], 'base64').toString()] : []));
  expect(pieces.join('')).not.toMatch(/hunt|2222/);
  await build.failed(new Error('over'));
});

test('another process has taken the record: the build is no longer under way, and its end is told', async () => {
  const [one, two] = [openHistory(root), openHistory(root)];
  const heard: string[] = [];
  const build = begin();
  await expect.poll(() => one.settled().then(() => one.active(everybody).length), patience).toBe(1);
  const stop = one.listen(everybody, ({ type }) => heard.push(type));
  await build.ended(built);
  await two.settled();
  expect(two.delete(everybody, build.ref)).toBe(true);
  await one.settled();
  expect([one.active(everybody), heard, one.find(everybody, build.ref)]).toEqual([
    [],
    ['deleted'],
    undefined,
  ]);
  stop();
  await Promise.all([one.close(), two.close()]);
});

test('hostile notes of builds that run are dropped once nobody writes them, and lead nowhere else', async () => {
  const outside = join(root, 'precious');
  writeFileSync(outside, 'precious');
  mkdirSync(folder());
  const head = { version: 1, owner: 'peer 7', ref: 'x', at: 1, frontend: '', options: {}, outputs: [] };
  const end = { at: 2, vertices: [], statuses: [], warnings: [], details: { files: [], steps: {} } };
  const lines = (...values: unknown[]) => values.map((each) => `${JSON.stringify(each)}\n`).join('');
  const notes = {
    '.1-elsewhere': lines({ ...head, ref: '/../../precious' }, { ...end, at: 0 }),
    '.1-json': 'no JSON\n',
    '.1-head': lines({ ...head, ref: 'head', at: 'noon' }),
    '.1-step': lines({ ...head, ref: 'step' }, { vertices: [{ digest: 7 }], statuses: [], warnings: [] }),
    '.1-log': lines({ ...head, ref: 'log' }, [vertex, 1, 'noon', 7]),
    '.1-error': lines({ ...head, ref: 'error' }, { ...end, error: 'AAAA' }),
  };
  for (const [name, text] of Object.entries(notes)) writeFileSync(join(folder(), name), text);
  execFileSync('mkfifo', [join(folder(), '.1-fifo')]);
  const history = openHistory(root);
  await history.settled();
  expect(history.active(everybody)).toEqual([]);
  await history.close();
  expect(readFileSync(outside, 'utf8')).toBe('precious');
  expect(readdirSync(folder())).toEqual(['.1-fifo']);
});

function shown(): string {
  return readdirSync(root).includes('notes')
    ? readdirSync(folder())
        .map((name) => readFileSync(join(folder(), name), 'utf8'))
        .join('')
    : '';
}

function replayedText(messages: Iterable<StatusResponse>): string {
  return [...messages].flatMap(({ logs }) => logs.map(({ msg }) => Buffer.from(msg).toString())).join('');
}
