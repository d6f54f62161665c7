/** LLB's BuildOp: a definition within a definition. */
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildOp } from '../../src/ops/build.ts';
import type { OpMaker } from '../../src/ops/deps.ts';
import { fileOp } from '../../src/ops/file.ts';
import { type Definition, DefinitionSchema, OpSchema } from '../../src/pb/solver/pb/ops_pb.js';
import type { Ref } from '../../src/store/ref.ts';
import { runOp } from '../kit/run-op.ts';
import { Workshop } from '../kit/workshop.ts';

let shop: Workshop;
beforeAll(async () => {
  shop = new Workshop();
  await shop.open();
});
afterAll(() => shop.remove());

const definition = create(DefinitionSchema, { def: [Buffer.from('an op')] });
const solved: Definition[] = [];
/** The op with a solver that notes what it is given. */
const maker: OpMaker = (vertex, deps) =>
  buildOp(vertex, {
    ...deps,
    solveNested: async (nested) => {
      solved.push(nested);
      return undefined;
    },
  });

async function fileWith(path: string, data: Uint8Array): Promise<Ref> {
  const at = { input: -1n, secondaryInput: -1n, output: 0n };
  const action = { case: 'mkfile' as const, value: { path, data, mode: 0o644, timestamp: -1n } };
  const { op } = create(OpSchema, { op: { case: 'file', value: { actions: [{ ...at, action }] } } });
  return (await runOp(shop, fileOp, op)).refs[0]!;
}
const named = (attrs: Record<string, string> = {}) =>
  create(OpSchema, {
    op: {
      case: 'build',
      value: { builder: -1n, inputs: { 'buildkit.llb.definition': { input: 0n } }, attrs },
    },
  }).op;

test('the definition is inline', async () => {
  const { op } = create(OpSchema, { op: { case: 'build', value: { builder: -1n, def: definition } } });
  const { refs } = await runOp(shop, maker, op);
  expect(solved.pop()?.def).toEqual(definition.def);
  expect(refs).toEqual([shop.refs.empty()]);
});

test('the definition is a file of an input, under its own or another name', async () => {
  const bytes = toBinary(DefinitionSchema, definition);
  await runOp(shop, maker, named(), { inputs: [await fileWith('/buildkit.llb.definition', bytes)] });
  await runOp(shop, maker, named({ 'llbbuild.filename': 'my.llb' }), {
    inputs: [await fileWith('/my.llb', bytes)],
  });
  expect(solved.splice(0).map(({ def }) => Buffer.from(def[0]!).toString())).toEqual(['an op', 'an op']);
});

test('a missing or broken definition, and a builder image, are refused', async () => {
  const other = await fileWith('/other', Buffer.from('x'));
  await expect(runOp(shop, maker, named(), { inputs: [other] })).rejects.toMatchObject({ code: 'not-found' });
  const broken = await fileWith('/buildkit.llb.definition', Buffer.from([0xff, 0xff]));
  await expect(runOp(shop, maker, named(), { inputs: [broken] })).rejects.toMatchObject({
    code: 'invalid',
    hop: 'llb',
  });
  const parts = Buffer.alloc(5_000_000, Buffer.from([0xfa, 0x07, 0x00]));
  const large = await fileWith('/buildkit.llb.definition', parts);
  await expect(runOp(shop, maker, named(), { inputs: [large] })).rejects.toThrow('too many parts');
  await expect(runOp(shop, maker, named())).rejects.toMatchObject({ code: 'invalid', hop: 'llb' });
  const { op } = create(OpSchema, { op: { case: 'build', value: { builder: 0n } } });
  await expect(runOp(shop, maker, op)).rejects.toMatchObject({ code: 'unsupported' });
});
