/** A provenance from facts: which property says what, in both versions, and what is nowhere in it. */
import { describe, expect, test } from 'vitest';
import { parseProvenance } from '../../src/attest/options.ts';
import { provenance } from '../../src/attest/provenance.ts';
import { imagePurl } from '../../src/attest/purl.ts';
import type { BuildFacts } from '../../src/attest/types.ts';
import { image, local, marshal } from '../../src/llb/llb.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/types.ts';
import { dockerfileVersion } from '../../src/version.ts';

const base = digestOf('base');
const file = digestOf('file');
const commit = 'c'.repeat(40);
const platform = { os: 'linux', architecture: 'amd64' };
const tagged = `docker.io/library/alpine:3@${base}`;

const state = image('alpine:3')
  .run('wget https://me:hunter22@example.com/x?token=hunter22', {
    env: { HTTP_PROXY: 'http://me:hunter22@proxy' },
  })
  .root()
  .copy(local('context'), '/', '/app');

const facts: BuildFacts = {
  invocationId: 'b1',
  startedAt: Date.parse('2026-01-02T03:04:05Z'),
  finishedAt: Date.parse('2026-01-02T03:04:06Z'),
  builderPlatform: 'linux/amd64',
  frontend: 'dockerfile.v0',
  options: {
    context: 'https://me:hunter22@example.com/app.git#main:sub',
    filename: 'x.Dockerfile',
    target: 'release',
    'build-arg:VERSION': '1.2',
    'build-arg:URL': 'https://me:hunter22@example.com/?password=hunter22',
    'label:a': 'b',
    'vcs:source': 'https://me:hunter22@example.com/app.git',
    'vcs:revision': 'abc',
    'context:other': 'https://me:hunter22@example.com/other',
    'context:signed': 'https://example.com/other?X-Amz-Expires=60&X-Amz-Signature=hunter22&sig=hunter22',
    'cgroup-parent': '/host/only',
    platform: 'linux/amd64',
    'local-sessionid:context': 'session',
    'attest:provenance': 'mode=max',
  },
  offered: [],
  sources: [
    { kind: 'http', url: 'https://me:hunter22@example.com/file', digest: file },
    { kind: 'git', url: 'https://me:hunter22@example.com/app.git#main', commit },
    { kind: 'image', ref: tagged, digest: base, platform, layout: false },
    { kind: 'image', ref: tagged, digest: base, platform, layout: false },
    { kind: 'blob', ref: `example.com/blobs@${file}`, digest: file, layout: false },
  ],
  isResolved: (name, digest) => name === 'docker.io/library/alpine:3' && digest === base,
  secrets: [
    { id: 'token', optional: true },
    { id: 'token', optional: false },
    { id: 'maybe', optional: true },
  ],
  ssh: [{ id: 'default', optional: false }],
  usesNetwork: true,
  isOpaque: false,
  definition: marshal(state),
  imageLayers: new Map(),
};

const signed = 'https://example.com/other?X-Amz-Expires=60&X-Amz-Signature=xxxxx&sig=xxxxx';
const materials = [
  { uri: 'pkg:docker/alpine@3?platform=linux%2Famd64', digest: { sha256: base.slice(7) } },
  { uri: `pkg:docker/example.com/blobs?digest=${file}&ref_type=blob`, digest: { sha256: file.slice(7) } },
  { uri: 'https://xxxxx:xxxxx@example.com/app.git#main', digest: { sha1: commit } },
  { uri: 'https://xxxxx:xxxxx@example.com/file', digest: { sha256: file.slice(7) } },
];

// biome-ignore lint/suspicious/noExplicitAny: JSON
type Json = any;
const made = async (text: string, given: Partial<BuildFacts> = {}, layers?: readonly Descriptor[]) =>
  JSON.parse(
    JSON.stringify(
      await provenance({ ...facts, ...given }, parseProvenance(text)).predicate(layers && { layers }),
    ),
  ) as Json;

describe('SLSA v1', () => {
  test('max', async () => {
    const { buildDefinition, runDetails } = await made(
      'mode=max,builder-id=https://ci.example.com/7,reproducible=true',
    );
    const { buildConfig, ...internalParameters } = buildDefinition.internalParameters;
    expect({ ...buildDefinition, internalParameters }).toEqual({
      buildType: 'https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md',
      externalParameters: {
        configSource: {
          uri: 'https://xxxxx:xxxxx@example.com/app.git#main:sub',
          digest: { sha1: commit },
          path: 'x.Dockerfile',
        },
        request: {
          frontend: 'dockerfile.v0',
          args: {
            'build-arg:URL': 'https://xxxxx:xxxxx@example.com/?password=xxxxx',
            'build-arg:VERSION': '1.2',
            'context:other': 'https://xxxxx:xxxxx@example.com/other',
            'context:signed': signed,
            'label:a': 'b',
            target: 'release',
          },
          secrets: [{ id: 'maybe', optional: true }, { id: 'token' }],
          ssh: [{ id: 'default' }],
        },
      },
      internalParameters: { builderPlatform: 'linux/amd64', dockerfileVersion },
      resolvedDependencies: materials,
    });
    expect(
      buildConfig.llbDefinition.map(({ id, inputs }: { id: string; inputs: string[] }) => [id, inputs]),
    ).toEqual([
      ['step0', []],
      ['step1', ['step0:0']],
      ['step2', []],
      ['step3', ['step1:0', 'step2:0']],
      ['step4', ['step3:0']],
    ]);
    expect(runDetails).toEqual({
      builder: { id: 'https://ci.example.com/7' },
      metadata: {
        invocationId: 'b1',
        startedOn: '2026-01-02T03:04:05.000Z',
        finishedOn: '2026-01-02T03:04:06.000Z',
        buildkit_metadata: {
          vcs: { source: 'https://xxxxx:xxxxx@example.com/app.git', revision: 'abc' },
        },
        buildkit_completeness: { request: true, resolvedDependencies: true },
        buildkit_reproducible: true,
      },
    });
  });

  test('min has no values of arguments, no secrets, no steps, and says that it is not all', async () => {
    const { buildDefinition, runDetails } = await made('mode=min');
    expect(buildDefinition.externalParameters.request).toEqual({
      frontend: 'dockerfile.v0',
      args: {
        'context:other': 'https://xxxxx:xxxxx@example.com/other',
        'context:signed': signed,
        target: 'release',
      },
    });
    expect(buildDefinition.internalParameters).toEqual({
      builderPlatform: 'linux/amd64',
      dockerfileVersion,
    });
    expect(buildDefinition.resolvedDependencies).toEqual(materials);
    expect(runDetails.metadata.buildkit_completeness).toEqual({ request: false, resolvedDependencies: true });
  });

  test('layers: of image sources and of the result, by step', async () => {
    const layer = (text: string): Descriptor => ({ mediaType: 'layer', digest: digestOf(text), size: 1 });
    const vertex = digestOf(marshal(state).def[0] as Uint8Array);
    const imageLayers = new Map([[vertex, [{ ...layer('a'), annotations: { x: 'y' } }]]]);
    const { runDetails } = await made('', { imageLayers }, [layer('a'), layer('b')]);
    expect(runDetails.metadata.buildkit_metadata.layers).toEqual({
      'step0:0': [[layer('a')]],
      'step3:0': [[layer('a'), layer('b')]],
    });
  });
});

describe('requests before the result’s own', () => {
  const options = { target: 'base', 'build-arg:A': 'hunter22', 'vcs:source': 'x' };
  const inner = { frontend: 'dockerfile.v0', options: { target: 'seed', 'label:a': 'b' } };
  const given: Partial<BuildFacts> = {
    inputs: { base: { frontend: 'dockerfile.v0', options, inputs: { inner } } },
    root: { frontend: '', options: { 'build-arg:ROOT': 'swordfish', 'attest:provenance': '', other: 'y' } },
  };

  test('those for the trees that its frontend was handed, and the one that began the build', async () => {
    const { request } = (await made('', given)).buildDefinition.externalParameters;
    expect(request.inputs).toEqual({
      base: {
        configSource: {},
        request: {
          frontend: 'dockerfile.v0',
          args: { target: 'base', 'build-arg:A': 'hunter22' },
          inputs: {
            inner: {
              configSource: {},
              request: { frontend: 'dockerfile.v0', args: { target: 'seed', 'label:a': 'b' } },
            },
          },
        },
      },
    });
    expect(request.root).toEqual({
      configSource: {},
      request: { args: { 'build-arg:ROOT': 'swordfish', other: 'y' } },
    });
  });

  test('min has none of their values either', async () => {
    const { buildDefinition, runDetails } = await made('mode=min', {
      ...given,
      options: {},
      secrets: [],
      ssh: [],
    });
    expect(JSON.stringify(buildDefinition)).not.toMatch(/hunter22|swordfish|label:a/);
    expect(buildDefinition.externalParameters.request.root.request).toEqual({ args: { other: 'y' } });
    expect(runDetails.metadata.buildkit_completeness.request).toBe(false);
  });

  test('the one that began the build is told where it says anything else', async () => {
    for (const root of [
      { frontend: 'dockerfile.v0', options: facts.options },
      { frontend: '', options: { 'attest:provenance': '' } },
    ]) {
      expect((await made('', { root })).buildDefinition.externalParameters.request.root).toBeUndefined();
    }
  });
});

test('an operator’s facts about the environment stand beside our own, which they cannot replace', async () => {
  const environment = { runner: { id: 7 }, builderPlatform: 'other' };
  expect((await made('mode=min', { environment })).buildDefinition.internalParameters).toEqual({
    runner: { id: 7 },
    builderPlatform: 'linux/amd64',
    dockerfileVersion,
  });
  expect(
    (await made('mode=min,version=v0.2', { environment, frontend: '' })).invocation.environment,
  ).toMatchObject({
    runner: { id: 7 },
    platform: 'linux/amd64',
  });
});

test('SLSA v0.2 says the same in its own words', async () => {
  expect(await made('mode=min,version=v0.2,builder-id=me')).toEqual({
    builder: { id: 'me' },
    buildType: 'https://mobyproject.org/buildkit@v1',
    materials,
    invocation: {
      configSource: {
        uri: 'https://xxxxx:xxxxx@example.com/app.git#main:sub',
        digest: { sha1: commit },
        entryPoint: 'x.Dockerfile',
      },
      parameters: {
        frontend: 'dockerfile.v0',
        args: {
          'context:other': 'https://xxxxx:xxxxx@example.com/other',
          'context:signed': signed,
          target: 'release',
        },
      },
      environment: { platform: 'linux/amd64', dockerfileVersion },
    },
    metadata: {
      buildInvocationID: 'b1',
      buildStartedOn: '2026-01-02T03:04:05.000Z',
      buildFinishedOn: '2026-01-02T03:04:06.000Z',
      completeness: { parameters: false, environment: true, materials: true },
      reproducible: false,
      'https://mobyproject.org/buildkit@v1#metadata': {
        vcs: { source: 'https://xxxxx:xxxxx@example.com/app.git', revision: 'abc' },
      },
    },
  });
});

describe('what is true', () => {
  const hermetic = async (given: Partial<BuildFacts>) =>
    (await made('', given)).runDetails.metadata.buildkit_hermetic;
  const complete = async (given: Partial<BuildFacts>) =>
    (await made('', given)).runDetails.metadata.buildkit_completeness.resolvedDependencies;

  test('hermetic: all sources have digests and no step had the network', async () => {
    expect(await hermetic({ usesNetwork: false })).toBe(true);
    expect(await hermetic({ usesNetwork: true })).toBeUndefined();
    expect(await hermetic({ usesNetwork: false, isOpaque: true })).toBeUndefined();
    expect(
      await hermetic({ usesNetwork: false, sources: [{ kind: 'local', name: 'context' }] }),
    ).toBeUndefined();
  });

  test('complete: not with a folder of the client’s, nor with a graph inside a step', async () => {
    expect(await complete({})).toBe(true);
    expect(await complete({ isOpaque: true })).toBe(false);
    const sources: BuildFacts['sources'] = [{ kind: 'local', name: 'context' }];
    expect(await complete({ sources })).toBe(false);
    expect((await made('', { sources })).buildDefinition.externalParameters.request.locals).toEqual([
      { name: 'context' },
    ]);
    const offered = await made('', { sources, offered: ['context', 'a'] });
    expect(offered.buildDefinition.externalParameters.request.locals).toEqual([
      { name: 'a' },
      { name: 'context' },
    ]);
    await expect(made('complete-materials=true', { sources })).rejects.toThrow(
      'folders of the client: context',
    );
    await made('complete-materials=true');
  });

  test('configs of images are named in min, and what they hold is hidden', async () => {
    const options = { 'input-metadata:base': '{"config":{"Env":["A=hunter22"]}}' };
    const { args } = (await made('mode=min', { options })).buildDefinition.externalParameters.request;
    expect(args).toEqual({ 'input-metadata:base': 'xxxxx' });
  });

  test('a request without a frontend is not complete', async () => {
    const { request } = (await made('', { frontend: '', options: {} })).runDetails.metadata
      .buildkit_completeness;
    expect(request).toBe(false);
  });

  test('a digest that the user wrote stays in the name; one that was looked up does not', async () => {
    const uri = async (given: Partial<BuildFacts>) =>
      (await made('', given)).buildDefinition.resolvedDependencies[0].uri;
    expect(await uri({ isResolved: () => false })).toBe(
      `pkg:docker/alpine@3?digest=${base}&platform=linux%2Famd64`,
    );
    const digest = `sha512:${'0'.repeat(128)}` as const;
    const file = { sources: [{ kind: 'http', url: 'https://h/f', digest }] } satisfies Partial<BuildFacts>;
    expect((await made('', file)).buildDefinition.resolvedDependencies).toEqual([
      { uri: 'https://h/f', digest: { sha512: '0'.repeat(128) } },
    ]);
    const only = `docker.io/library/alpine@${base}`;
    expect(await uri({ sources: [{ kind: 'image', ref: only, digest: base, platform, layout: true }] })).toBe(
      `pkg:oci/alpine?digest=${base}&platform=linux%2Famd64`,
    );
  });
});

test.each(['mode=max', 'mode=min', 'mode=max,version=v0.2', 'mode=min,version=v0.2'])(
  'no password, token or session is anywhere in it: %s',
  async (text) => {
    const json = JSON.stringify(await made(text));
    for (const hidden of ['hunter22', 'me:', '/host/only', 'sessionid', 'attest:']) {
      expect(json).not.toContain(hidden);
    }
  },
);

test.each([
  ['alpine', 'pkg:docker/alpine@latest'],
  ['library/alpine:3.15', 'pkg:docker/alpine@3.15'],
  ['user/test:v2', 'pkg:docker/user/test@v2'],
  ['ghcr.io/foo/bar', 'pkg:docker/ghcr.io/foo/bar@latest'],
  ['localhost:5000/foo:1', 'pkg:docker/localhost%3A5000/foo@1'],
  [`busybox@${base}`, `pkg:docker/busybox?digest=${base}`],
])('package URL of %s', (name, purl) => {
  expect(imagePurl(name)).toBe(purl);
});
