/** Ops on whole layers: merge and diff, and the op that passes its inputs on. */
import { create } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeOpFactory } from '../../src/engine/ops.ts';
import { diffOp } from '../../src/ops/diff.ts';
import { fileOp } from '../../src/ops/file.ts';
import { mergeOp } from '../../src/ops/merge.ts';
import { passthroughOp } from '../../src/ops/passthrough.ts';
import { OpSchema } from '../../src/pb/solver/pb/ops_pb.js';
import type { Ref } from '../../src/store/ref.ts';
import { runOp, vertexOf } from '../kit/run-op.ts';
import { treeOf } from '../kit/tree.ts';
import { Workshop } from '../kit/workshop.ts';

let shop: Workshop;
beforeAll(async () => {
  shop = new Workshop();
  await shop.open();
});
afterAll(() => shop.remove());

const tree = async (ref: Ref | undefined) => treeOf(await shop.view(ref));

/** A layer on `base`: files written, `null` for files removed. */
async function layer(files: Record<string, string | null>, base?: Ref): Promise<Ref> {
  const names = Object.keys(files);
  const actions = names.map((path, i) => {
    const data = files[path] ?? null;
    const at = {
      input: BigInt(i === 0 ? (base ? 0 : -1) : i - 1 + (base ? 1 : 0)),
      secondaryInput: -1n,
      output: i === names.length - 1 ? 0n : -1n,
    };
    if (data === null) return { ...at, action: { case: 'rm' as const, value: { path } } };
    const value = { path, data: Buffer.from(data), mode: 0o644, timestamp: -1n };
    return { ...at, action: { case: 'mkfile' as const, value } };
  });
  const { op } = create(OpSchema, { op: { case: 'file', value: { actions } } });
  const { refs } = await runOp(shop, fileOp, op, { inputs: base ? [base] : [] });
  return refs[0]!;
}

async function merge(...inputs: Ref[]): Promise<Ref | undefined> {
  const value = { inputs: inputs.map((_, i) => ({ input: BigInt(i) })) };
  const { op } = create(OpSchema, { op: { case: 'merge', value } });
  return (await runOp(shop, mergeOp, op, { inputs })).refs[0];
}

async function diff(lower: Ref | undefined, upper: Ref | undefined): Promise<Ref | undefined> {
  const inputs = [lower, upper].filter((ref) => ref !== undefined);
  const at = (ref: Ref | undefined) => ({ input: BigInt(ref === undefined ? -1 : inputs.indexOf(ref)) });
  const { op } = create(OpSchema, { op: { case: 'diff', value: { lower: at(lower), upper: at(upper) } } });
  return (await runOp(shop, diffOp, op, { inputs })).refs[0];
}

test('a merge stacks trees, the later ones on top, without copying', async () => {
  const a = await layer({ '/a': 'a', '/both': 'from a' });
  const b = await layer({ '/b': 'b', '/both': 'from b' });
  const merged = await merge(a, b);
  expect(await tree(merged)).toEqual({ '/a': 'a', '/b': 'b', '/both': 'from b' });
  const host = async (ref: Ref | undefined, path: string) => (await shop.view(ref)).lstat(path)?.ino;
  expect(await host(merged, '/b')).toBe(await host(b, '/b'));
  expect(await tree(await merge(a, shop.refs.empty()))).toEqual(await tree(a));
});

test('a diff of a tree and what stands on it is the layers in between', async () => {
  const base = await layer({ '/etc': 'base', '/gone': 'x' });
  const upper = await layer({ '/new': 'n' }, await layer({ '/gone': null, '/mid': 'm' }, base));
  const changes = await diff(base, upper);
  expect(await tree(changes)).toEqual({ '/mid': 'm', '/new': 'n' });
  // Deletions are part of it: laid over another tree, they delete.
  const other = await layer({ '/gone': 'here too', '/kept': 'k' });
  expect(await tree(await merge(other, changes!))).toEqual({ '/kept': 'k', '/mid': 'm', '/new': 'n' });
  expect(await tree(await diff(base, base))).toEqual({});
});

test('a diff of unrelated trees compares them', async () => {
  const one = await layer({ '/same': 's', '/changed': 'old', '/gone': 'x' });
  const two = await layer({ '/same': 's', '/changed': 'new', '/added': 'y' });
  const changes = await diff(one, two);
  expect(await tree(changes)).toMatchObject({ '/changed': 'new', '/added': 'y' });
  const rebuilt = await merge(one, changes!);
  expect(await tree(rebuilt)).toEqual(await tree(two));
  expect(await tree(await diff(undefined, two))).toEqual(await tree(two));
  expect(await tree(await merge(one, (await diff(one, undefined))!))).toEqual({});
});

test('passthrough gives its inputs on, in the order asked for', async () => {
  const inputs = [await layer({ '/0': '' }), await layer({ '/1': '' })];
  const { op } = create(OpSchema, { op: { case: 'passthrough', value: { id: 'x', outputs: [1n, 0n] } } });
  const { refs } = await runOp(shop, passthroughOp, op, { inputs });
  expect(refs).toEqual([inputs[1], inputs[0]]);
});

test('an op of an unknown kind and a source of an unknown scheme are refused', () => {
  const make = makeOpFactory({} as never);
  expect(() => make(vertexOf({ case: undefined }))).toThrow(expect.objectContaining({ code: 'unsupported' }));
  const { op } = create(OpSchema, { op: { case: 'source', value: { identifier: 'ftp://x/y' } } });
  expect(() => make(vertexOf(op))).toThrow(expect.objectContaining({ code: 'unsupported', hop: 'llb' }));
});
