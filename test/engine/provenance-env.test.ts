/** Facts about the environment that an operator adds to provenances: JSON files in a folder. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { readProvenanceEnv } from '../../src/engine/provenance-env.ts';

const dir = mkdtempSync(join(tmpdir(), 'drydock-provenance-env-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
beforeEach(() => {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
});
const put = (name: string, text: string) => writeFileSync(join(dir, name), text);

test('the fields of all files, of which a later one wins; other files are not read', () => {
  put('10-a.json', '{"runner": {"id": 1}, "region": "x"}');
  put('20-b.json', '{"region": "y"}');
  put('readme.txt', 'hello');
  expect(readProvenanceEnv(dir)).toEqual({ runner: { id: 1 }, region: 'y' });
});

test('a folder that is not there adds nothing', () => {
  expect(readProvenanceEnv(join(dir, 'none'))).toEqual({});
});

test.each([
  ['{', 'a.json: it is no JSON'],
  ['[]', 'a.json: it is no JSON object'],
  ['{"builderPlatform": "x"}', 'the field "builderPlatform" is the provenance\'s own'],
])('refused: %s', (text, message) => {
  put('a.json', text);
  expect(() => readProvenanceEnv(dir)).toThrow(message);
});
