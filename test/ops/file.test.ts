/** File ops: what they are keyed by, what they make, and what they leave when they fail. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fileCacheMap, fileOp } from '../../src/ops/file.ts';
import { planFileOp } from '../../src/ops/file-plan.ts';
import { type FileActionSchema, FileOpSchema, OpSchema } from '../../src/pb/solver/pb/ops_pb.js';
import { dropLeftovers } from '../../src/solver/leftovers.ts';
import type { Ref } from '../../src/store/ref.ts';
import { runOp } from '../kit/run-op.ts';
import { treeOf } from '../kit/tree.ts';
import { Workshop } from '../kit/workshop.ts';

type Action = MessageInitShape<typeof FileActionSchema>;

let shop: Workshop;
let dir: string;
let context: Ref;
beforeAll(async () => {
  shop = new Workshop();
  await shop.open();
  dir = mkdtempSync(join(tmpdir(), 'drydock-context-'));
  mkdirSync(join(dir, 'src'));
  writeFileSync(join(dir, 'src', 'a.txt'), 'a');
  writeFileSync(join(dir, 'src', 'b.txt'), 'b');
  writeFileSync(join(dir, 'main.go'), 'package main');
  context = shop.refs.folder({ kind: 'folder', dir, rootOwned: true });
});
afterAll(async () => {
  await shop.remove();
  rmSync(dir, { recursive: true, force: true });
});

const index = (input: number, secondaryInput: number, output: number) => ({
  input: BigInt(input),
  secondaryInput: BigInt(secondaryInput),
  output: BigInt(output),
});
/** An action on `input`; `output` -1 keeps it to the op itself. */
const mkfile = (input: number, output: number, path: string, data: string, owner?: object): Action => ({
  ...index(input, -1, output),
  action: { case: 'mkfile', value: { path, data: Buffer.from(data), mode: 0o644, timestamp: -1n, owner } },
});
const rm = (input: number, output: number, path: string): Action => ({
  ...index(input, -1, output),
  action: { case: 'rm', value: { path } },
});
const copy = (input: number, from: number, output: number, src: string, dest: string, more = {}): Action => ({
  ...index(input, from, output),
  action: {
    case: 'copy',
    value: { src, dest, mode: -1, timestamp: -1n, createDestPath: true, followSymlink: true, ...more },
  },
});
const op = (actions: Action[]) => create(OpSchema, { op: { case: 'file', value: { actions } } }).op;
const run = (actions: Action[], inputs: Ref[] = []) => runOp(shop, fileOp, op(actions), { inputs });
const mapOf = (actions: Action[], inputs: number) => fileCacheMap(create(FileOpSchema, { actions }), inputs);
const tree = async (ref: Ref | undefined) => treeOf(await shop.view(ref));

test('actions on one tree follow each other on one snapshot', async () => {
  const before = (await shop.store.snapshots.list()).length;
  const { refs } = await run([mkfile(-1, -1, '/one', '1'), mkfile(0, -1, '/two', '2'), rm(1, 0, '/one')]);
  expect(await tree(refs[0])).toEqual({ '/two': '2' });
  expect((await shop.store.snapshots.list()).length - before).toBe(1);
});

test('a copy from the client’s folder goes straight into the layer', async () => {
  const base = (await run([mkfile(-1, 0, '/etc', 'base')])).refs[0]!;
  const { refs } = await run([copy(0, 1, 0, '/src', '/app', { dirCopyContents: true })], [base, context]);
  expect(await tree(refs[0])).toEqual({ '/etc': 'base', '/app': '/', '/app/a.txt': 'a', '/app/b.txt': 'b' });
});

test('several outputs, each standing on what came before', async () => {
  const { refs } = await run([
    mkfile(-1, 0, '/one', '1'),
    mkfile(0, 1, '/two', '2'),
    mkfile(0, 2, '/three', '3'),
  ]);
  expect(await Promise.all(refs.map(tree))).toEqual([
    { '/one': '1' },
    { '/one': '1', '/two': '2' },
    { '/one': '1', '/three': '3' },
  ]);
});

test('an action may copy from what an earlier one made', async () => {
  const { refs } = await run([mkfile(-1, -1, '/from', 'x'), copy(-1, 0, 0, '/from', '/to')]);
  expect(await tree(refs[0])).toEqual({ '/to': 'x' });
});

test('an owner by name is looked up in the tree that the action says', async () => {
  const users = (
    await run([
      {
        ...index(-1, -1, -1),
        action: { case: 'mkdir', value: { path: '/etc', mode: 0o755, timestamp: -1n } },
      },
      mkfile(0, -1, '/etc/passwd', 'app:x:1234:5678::/:/bin/sh\n'),
      mkfile(1, 0, '/etc/group', 'staff:x:50:\n'),
    ])
  ).refs[0]!;
  const owner = {
    user: { user: { case: 'byName', value: { name: 'app', input: 1n } } },
    group: { user: { case: 'byName', value: { name: 'staff', input: 1n } } },
  };
  const { refs, map } = await run([copy(-1, 0, 0, '/main.go', '/', { owner })], [context, users]);
  expect((await shop.view(refs[0])).lstat('/main.go')).toMatchObject({ uid: 1234, gid: 50 });
  // Of the tree with the names, only the two files with names count.
  expect(map.deps[1]?.content?.map((selector) => selector.path)).toEqual(['/etc/group', '/etc/passwd']);
  const nobody = { user: { user: { case: 'byName', value: { name: 'nobody', input: 1n } } } };
  await expect(
    run([copy(-1, 0, 0, '/main.go', '/', { owner: nobody })], [context, users]),
  ).rejects.toMatchObject({
    hop: 'file',
  });
});

test('a copy is keyed by what it copies, under the name it had, and by what it stands on', () => {
  const map = mapOf([copy(0, 1, 0, '/src/a.txt', '/app/')], 2);
  expect(map.deps).toEqual([{}, { content: [{ path: '/src/a.txt', wildcard: false, followLinks: true }] }]);
  expect(mapOf([copy(0, 1, 0, '/other/a.txt', '/app/')], 2).digest).toBe(map.digest);
  expect(mapOf([copy(0, 1, 0, '/src/b.txt', '/app/')], 2).digest).not.toBe(map.digest);
  expect(mapOf([copy(0, 1, 0, '/src/a.txt', '/lib/')], 2).digest).not.toBe(map.digest);
  const filtered = mapOf(
    [copy(0, 1, 0, '/src/*.txt', '/', { allowWildcard: true, excludePatterns: ['b*'] })],
    2,
  );
  expect(filtered.deps[1]?.content).toEqual([
    { path: '/src/*.txt', wildcard: true, followLinks: true, excludes: ['b*'] },
  ]);
});

test('an input that is built on is keyed by its definition, with the whole path copied from it', () => {
  const self = (src: string) => mapOf([copy(0, 0, 0, src, '/copy')], 1);
  expect(self('/a/x').deps).toEqual([{}]);
  expect(self('/a/x').digest).not.toBe(self('/b/x').digest);
});

test('a failure names the path, and what it left is gone once it is dropped', async () => {
  const before = await shop.store.snapshots.list();
  const failures = await Promise.allSettled([
    run([mkfile(-1, -1, '/x', ''), rm(0, 0, '/nope')]),
    run([copy(-1, 0, 0, '/man.go', '/')], [context]),
  ]);
  const errors = failures.map((end) => (end.status === 'rejected' ? end.reason : undefined));
  expect(errors).toMatchObject([
    { hop: 'file' },
    { code: 'not-found', hop: 'file', message: expect.stringContaining('man.go') },
  ]);
  // Also by an error that tells more of where it happened.
  for (const cause of errors) await dropLeftovers(new Error('in a step', { cause }), shop.store);
  await shop.store.gc();
  expect(await shop.store.snapshots.list()).toEqual(before);
});

test('an abort leaves no snapshot behind', async () => {
  const before = await shop.store.snapshots.list();
  const signal = AbortSignal.abort();
  const actions = op([mkfile(-1, 0, '/x', '')]);
  await expect(runOp(shop, fileOp, actions, { signal })).rejects.toMatchObject({ code: 'canceled' });
  expect(await shop.store.snapshots.list()).toEqual(before);
});

test('indices that make no sense are refused before anything is done', () => {
  const plan =
    (actions: Action[], inputs = 0) =>
    () =>
      planFileOp(create(FileOpSchema, { actions }), inputs);
  const invalid = expect.objectContaining({ code: 'invalid', hop: 'llb' });
  for (const actions of [
    [],
    [mkfile(-1, -1, '/x', '')],
    [mkfile(0, 0, '/x', '')],
    [mkfile(-2, 0, '/x', '')],
    [mkfile(-1, 1, '/x', '')],
    [mkfile(-1, 0, '/x', ''), mkfile(-1, 0, '/y', '')],
    [{ ...index(-1, -1, 0) }],
  ]) {
    expect(plan(actions)).toThrow(invalid);
  }
  const deep = Array.from({ length: 5000 }, (_, i) => mkfile(i - 1, i === 4999 ? 0 : -1, '/x', ''));
  expect(plan(deep)().segments).toHaveLength(1);
});
