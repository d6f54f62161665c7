/** Attestations that a frontend returns go with the result: predicates in files, and folders of statements. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Frontend } from '../../src/engine/bridge/types.ts';
import { runBuild } from '../../src/engine/build.ts';
import { type Engine, openEngine } from '../../src/engine/engine.ts';
import type { OutputSpec } from '../../src/engine/types.ts';
import { marshal, mkfile, scratch } from '../../src/llb/llb.ts';
import { formatPlatform, hostPlatform } from '../../src/oci/platform.ts';
import type { Digest, Index, Manifest } from '../../src/oci/types.ts';
import {
  AttestationKind,
  AttestationSchema,
  InTotoSubjectKind,
} from '../../src/pb/moby/buildkit/v1/frontend/gateway_pb.js';
import { inProcessSession } from '../../src/session/in-process.ts';
import { closePool } from '../../src/workers/pool.ts';

const root = mkdtempSync(join(tmpdir(), 'drydock-attested-'));
let engine: Engine;
beforeAll(async () => {
  engine = await openEngine({ root });
});
afterAll(async () => {
  await engine.close();
  await closePool();
  rmSync(root, { recursive: true, force: true });
});

const host = formatPlatform(hostPlatform());
const type = 'https://example.com/predicate/v1';
const files = (texts: Record<string, string>) =>
  Object.entries(texts).reduce((state, [name, text]) => state.file(mkfile(name, text)), scratch());
const bytes = (text: string) => new Uint8Array(Buffer.from(text));
type Given = MessageInitShape<typeof AttestationSchema> & { tree?: Record<string, string> };

const warnings: string[] = [];
async function built(list: readonly Given[], dest?: string, name = host) {
  const nothing = () => {};
  const sink = {
    vertex: nothing,
    status: nothing,
    log: nothing,
    warning: ({ short }: { short: string }) => void warnings.push(short),
  };
  const frontend: Frontend = async (bridge) => {
    const attestations = list.map(({ tree, ...message }) => ({
      message: create(AttestationSchema, message),
      ref: tree && bridge.ref(marshal(files(tree))),
    }));
    return {
      ref: bridge.ref(marshal(files({ '/f': 'hello' }))),
      metadata: {},
      attestations: { [name]: attestations },
    };
  };
  const output: OutputSpec =
    dest === undefined
      ? { type: 'image' as const, attrs: { name: 'example.com/app:1' } }
      : { type: 'local' as const, attrs: {}, sink: { files: dest } };
  const request = { frontend, outputs: [output], allow: [] };
  const session = inProcessSession({ locals: {} });
  return runBuild(engine, request, session, sink, new AbortController().signal);
}

const json = async (digest: string) =>
  JSON.parse(Buffer.from(await engine.store.content.bytes(digest as Digest)).toString());
/** The image of a build, and the statements about it. */
async function stated({ descriptor }: Awaited<ReturnType<typeof built>>) {
  const { manifests }: Index = await json(descriptor?.digest ?? '');
  const [image, entry] = manifests;
  const { layers }: Manifest = await json(entry?.digest ?? '');
  return {
    image: image?.digest.slice(7),
    statements: await Promise.all(layers.map((each) => json(each.digest))),
  };
}

describe('a predicate in a file', () => {
  const tree = { '/a.json': '{"x": 1}', '/empty.json': '' };

  test('is about the result, about the result by a further name, or about what the frontend says', async () => {
    const digest = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
    const { image, statements } = await stated(
      await built([
        { tree, path: '/a.json', inTotoPredicateType: type },
        {
          tree,
          path: 'empty.json',
          inTotoPredicateType: type,
          inTotoSubjects: [{ kind: InTotoSubjectKind.Self, name: 'also' }],
        },
        {
          tree,
          path: '/a.json',
          inTotoPredicateType: type,
          inTotoSubjects: [{ kind: InTotoSubjectKind.Raw, name: 'file', digest: [digest] }],
        },
      ]),
    );
    const own = {
      name: `pkg:docker/example.com/app@1?platform=${encodeURIComponent(host)}`,
      digest: { sha256: image },
    };
    expect(statements).toEqual([
      { _type: 'https://in-toto.io/Statement/v1', predicateType: type, subject: [own], predicate: { x: 1 } },
      expect.objectContaining({ subject: [own, { ...own, name: 'also' }], predicate: null }),
      expect.objectContaining({ subject: [{ name: 'file', digest: { sha256: digest.slice(7) } }] }),
    ]);
  });

  test('is a file of its name beside an output of files', async () => {
    const dest = mkdtempSync(join(root, 'out-'));
    await built([{ tree, path: '/a.json', inTotoPredicateType: type }], dest);
    expect(readdirSync(dest).sort()).toEqual(['a.json', 'f']);
    expect(JSON.parse(readFileSync(join(dest, 'a.json'), 'utf8'))).toMatchObject({
      predicateType: type,
      subject: [{ name: 'f' }],
      predicate: { x: 1 },
    });
  });

  test('an SPDX document says which layers its files are in', async () => {
    const spdx = {
      spdxVersion: 'SPDX-2.3',
      files: [{ fileName: '/f' }, { fileName: '/../f', comment: 'mine' }, { fileName: 'none' }],
    };
    const { statements } = await stated(
      await built([
        {
          tree: { '/result.spdx': JSON.stringify(spdx) },
          path: '/result.spdx',
          inTotoPredicateType: 'https://spdx.dev/Document',
          metadata: { 'sbom-core': bytes('result') },
        },
      ]),
    );
    expect(statements[0].predicate.files).toEqual([
      { fileName: '/f', comment: expect.stringMatching(/^layerID: sha256:/) },
      { fileName: '/../f', comment: 'mine' },
      { fileName: 'none' },
    ]);
    expect(statements[0].predicate.creationInfo.creators).toEqual([expect.stringMatching(/^Tool: drydock-/)]);
  });

  test('may go only with images that have an index anyway', async () => {
    const { descriptor } = await built([
      { tree, path: '/a.json', inTotoPredicateType: type, metadata: { 'inline-only': bytes('true') } },
    ]);
    expect((await json(descriptor?.digest ?? '')).config).toBeDefined();
  });
});

describe('a folder of statements', () => {
  const statement = (more = {}) =>
    JSON.stringify({ _type: 'x', predicateType: type, predicate: { y: 1 }, ...more });
  const bundle = { kind: AttestationKind.Bundle };

  test('is as many attestations', async () => {
    const subject = [{ name: 'a', digest: { sha256: 'aa' } }];
    const tree = { '/one.json': statement(), '/two.json': statement({ subject }) };
    const { statements, image } = await stated(await built([{ ...bundle, tree }]));
    expect(statements.map(({ subject: all }) => all)).toEqual([
      [expect.objectContaining({ digest: { sha256: image } })],
      subject,
    ]);
    expect(statements[0].predicate).toEqual({ y: 1 });
  });

  test.each([
    ['no JSON', '{', {}, "the frontend's attestations: x: it is no JSON"],
    ['two documents', `${statement()}{}`, {}, 'x: it is no JSON'],
    ['no statement', '[]', {}, 'x: it is no in-toto statement'],
    [
      'another type',
      statement(),
      { inTotoPredicateType: 'z' },
      `x: its predicate is of the type "${type}" and not z`,
    ],
    [
      'a provenance',
      statement({ predicateType: 'https://slsa.dev/provenance/v1' }),
      {},
      'may not bundle provenance',
    ],
  ])('%s in it fails the build, and there is no image', async (_, text, more, message) => {
    const name = 'example.com/app:1';
    await engine.store.images.delete(name).catch(() => {});
    await expect(built([{ ...bundle, ...more, tree: { '/x': text } }])).rejects.toThrow(message);
    expect(await engine.store.images.get(name)).toBeUndefined();
  });
});

test.each<[string, Given, string]>([
  ['no path', { tree: { '/a': '1' }, inTotoPredicateType: type }, 'does not have set path'],
  ['no tree', { path: '/a', inTotoPredicateType: type }, 'does not have available content'],
  [
    'no file',
    { tree: { '/a': '1' }, path: '/b', inTotoPredicateType: type },
    'attestation b: there is no file b',
  ],
  ['no JSON', { tree: { '/a': 'x' }, path: '/a', inTotoPredicateType: type }, 'attestation a: it is no JSON'],
  [
    'provenance',
    { tree: { '/a': '1' }, path: '/a', inTotoPredicateType: 'https://slsa.dev/provenance/v1' },
    'may not set provenance',
  ],
])('refused: %s', async (_, given, message) => {
  await expect(built([given])).rejects.toThrow(message);
});

test('attestations of something that is no result are left out, with a warning', async () => {
  await built([{ tree: { '/a': '1' }, path: '/a', inTotoPredicateType: type }], undefined, 'plan9/mips');
  expect(warnings).toEqual([expect.stringContaining('attestations of plan9/mips, which is no result')]);
});
