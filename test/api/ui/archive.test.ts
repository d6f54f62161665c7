/** The document of an archive: what others wrote stays data in it. */
import { beforeAll, expect, test } from 'vitest';
import { archiveOf } from '../../../src/api/ui/archive.ts';
import { BuildModel } from '../../../src/api/ui/build-model.ts';
import type { BuildDetail } from '../../../src/api/ui/types.ts';
import type { Digest } from '../../../src/oci/types.ts';
import { makePage } from '../../kit/page.ts';

beforeAll(makePage);

const digest: Digest = `sha256:${'a'.repeat(64)}`;

async function dataOf(documents: Record<string, string>, output: string) {
  const model = new BuildModel();
  model.vertex({ digest, name: '</script><!--<script>', inputs: [], started: 1 });
  model.log({ vertex: digest, stream: 1, data: Buffer.from(output), timestamp: 1 });
  const detail = { ref: 'r', name: '</title><b>', ...model.parts } as unknown as BuildDetail;
  let text = '';
  for await (const piece of archiveOf({ detail, model, documents: new Map(Object.entries(documents)) }))
    text += piece;
  const start = text.indexOf('id="archive">') + 'id="archive">'.length;
  return { text, data: JSON.parse(text.slice(start, text.indexOf('</script>', start))) };
}

test('a statement that is no JSON, or more than one, is a text and changes nothing beside it', async () => {
  const forged = '{}},"build":{"ref":"forged"},"documents":{"x":{}';
  const { data } = await dataOf({ [digest]: '{"a": "</script>"}', b: forged, c: '' }, 'x\n');
  expect(data.build.ref).toBe('r');
  expect(data.documents).toEqual({ [digest]: { a: '</script>' }, b: forged, c: '' });
});

test('names and output end no script and no title', async () => {
  const { text, data } = await dataOf({}, '</script><script>alert(1)</script>\n<!--\n');
  expect(data.logs[digest][0][0]).toBe('</script><script>alert(1)</script>');
  expect(text).toContain('<title>&#60;/title&#62;&#60;b&#62;</title>');
  const [, between = ''] = text.split('id="archive">');
  expect(between.slice(0, between.indexOf('</script>'))).not.toContain('<');
});
