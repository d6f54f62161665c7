import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { afterAll, expect, test } from 'vitest';
import { parseOutputs } from '../../src/cli/build/outputs.ts';

const folder = mkdtempSync(join(tmpdir(), 'drydock-outputs-'));
afterAll(() => rmSync(folder, { recursive: true }));

const pipe = { isTTY: false };
const specs = (...output: string[]) =>
  parseOutputs({ output }, pipe).map(({ spec: { type, attrs } }) => ({ type, attrs }));

test('a bare path is a folder, - a tar on stdout', () => {
  expect(parseOutputs({ output: ['out'] }, pipe)[0]?.spec).toMatchObject({
    type: 'local',
    sink: { files: join(process.cwd(), 'out') },
  });
  expect(specs('-')).toEqual([{ type: 'tar', attrs: {} }]);
});

test('types, their short forms and attributes', () => {
  expect(specs('type=image,name=a,push=true')).toEqual([
    { type: 'image', attrs: { name: 'a', push: 'true' } },
  ]);
  expect(specs('type=registry,name=a')).toEqual([{ type: 'image', attrs: { name: 'a', push: 'true' } }]);
  expect(specs('type=docker')).toEqual([{ type: 'image', attrs: {} }]);
  expect(specs('type=oci,dest=x.tar,"annotation.a=b,c"')).toEqual([
    { type: 'oci', attrs: { 'annotation.a': 'b,c' } },
  ]);
  expect(specs('type=oci,tar=false,dest=x')).toEqual([{ type: 'oci', attrs: { tar: 'false' } }]);
});

test('--push makes an image output push, --load adds an image output', () => {
  const push = parseOutputs({ output: [], push: true }, pipe);
  expect(push.map(({ spec }) => spec)).toEqual([{ type: 'image', attrs: { push: 'true' } }]);
  const load = parseOutputs({ output: ['out'], load: true }, pipe);
  expect(load.map(({ spec }) => spec.type)).toEqual(['local', 'image']);
});

test('mistakes', () => {
  expect(() => specs('type=zip,dest=x')).toThrow('exporter "zip" could not be found');
  expect(() => specs('dest=x')).toThrow('type is required');
  expect(() => specs('type=local')).toThrow('needs dest=FOLDER');
  expect(() => parseOutputs({ output: ['type=tar'] }, { isTTY: true })).toThrow(
    'refusing to write to a terminal',
  );
});

test('a file appears under its name only when it is whole', async () => {
  const write = async (path: string) => {
    const [output] = parseOutputs({ output: [`type=tar,dest=${path}`] }, pipe);
    if (output?.spec.sink === undefined || !('tar' in output.spec.sink)) throw new Error('no sink');
    const stream = await output.spec.sink.tar();
    stream.end('data');
    await finished(stream);
    return output;
  };
  await (await write(join(folder, 'kept.tar'))).finish();
  const dropped = await write(join(folder, 'dropped.tar'));
  expect(readdirSync(folder)).toHaveLength(2);
  await dropped.abandon();
  expect(readdirSync(folder)).toEqual(['kept.tar']);
  expect(readFileSync(join(folder, 'kept.tar'), 'utf8')).toBe('data');
});
