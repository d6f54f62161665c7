import { expect, test } from 'vitest';
import { combine } from '../../src/imagetools/combine.ts';
import { sourceName } from '../../src/imagetools/read.ts';
import { type Descriptor, digestOf, mediaTypes } from '../../src/oci/index.ts';

const plain = { annotations: [], platforms: [], preferIndex: true };

function manifest(text: string, architecture?: string, mediaType: string = mediaTypes.ociManifest) {
  const bytes = Buffer.from(text);
  const platform = architecture === undefined ? {} : { platform: { os: 'linux', architecture } };
  const descriptor: Descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length, ...platform };
  return { repository: 'r/a', descriptor, bytes };
}

function index(manifests: Descriptor[], repository = 'r/b') {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
  return {
    repository,
    bytes,
    descriptor: { mediaType: mediaTypes.ociIndex, digest: digestOf(bytes), size: bytes.length },
  };
}

const amd = manifest('1', 'amd64');
const arm = manifest('2', 'arm64');
const stated: Descriptor = {
  ...manifest('3').descriptor,
  platform: { os: 'unknown', architecture: 'unknown' },
  annotations: {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': arm.descriptor.digest,
  },
};
const both = index([amd.descriptor, arm.descriptor, stated]);
const read = ({ bytes }: { bytes: Buffer }) => JSON.parse(bytes.toString());

test('manifests and indexes become one index, each manifest once, with where it is', () => {
  const made = combine([amd, both], plain);
  expect(read(made)).toEqual({
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [amd.descriptor, arm.descriptor, stated],
  });
  expect(made.descriptor.digest).toBe(digestOf(made.bytes));
  expect(made.parts.map(({ repository }) => repository)).toEqual(['r/a', 'r/b', 'r/b']);
});

test('one index stays bit for bit; one manifest is put into an index, or stays', () => {
  expect(combine([both], plain).descriptor).toEqual(both.descriptor);
  expect(read(combine([amd], plain)).manifests).toEqual([amd.descriptor]);
  expect(combine([amd], { ...plain, preferIndex: false }).bytes).toBe(amd.bytes);
});

test('docker’s manifests alone make docker’s list, unless it is annotated', () => {
  const docker = manifest('4', 'amd64', mediaTypes.dockerManifest);
  expect(combine([docker], plain).descriptor.mediaType).toBe(mediaTypes.dockerIndex);
  const annotations = [{ place: 'index', key: 'a', value: 'b' } as const];
  expect(read(combine([docker], { ...plain, annotations }))).toMatchObject({
    mediaType: mediaTypes.ociIndex,
    annotations: { a: 'b' },
  });
});

test('platforms keep what is stated of their images; one that there is not is refused', () => {
  const platforms = [{ os: 'linux', architecture: 'arm64' }];
  expect(read(combine([both], { ...plain, platforms })).manifests).toEqual([arm.descriptor, stated]);
  const none = [{ os: 'linux', architecture: 's390x' }];
  expect(() => combine([both], { ...plain, platforms: none })).toThrow('none of the manifests match');
});

test('entries are annotated, all or those of a platform', () => {
  const annotations = [
    { place: 'manifest-descriptor', key: 'all', value: '1' } as const,
    { place: 'manifest-descriptor', platform: 'linux/arm64', key: 'arm', value: '2' } as const,
  ];
  const { manifests } = read(combine([amd, arm], { ...plain, annotations }));
  expect(manifests.map((each: Descriptor) => each.annotations)).toEqual([
    { all: '1' },
    { all: '1', arm: '2' },
  ]);
  const lost = [{ place: 'manifest-descriptor', platform: 'linux/s390x', key: 'k', value: 'v' } as const];
  expect(() => combine([amd], { ...plain, annotations: lost })).toThrow('no platform linux/s390x');
});

test('a source is a name, a digest, or a descriptor', () => {
  expect(sourceName('app:1\n')).toEqual({ reference: 'app:1' });
  expect(sourceName(amd.descriptor.digest)).toEqual({ digest: amd.descriptor.digest, told: {} });
  const { digest } = amd.descriptor;
  expect(
    sourceName(JSON.stringify({ digest, platform: { os: 'linux', architecture: 'x86_64' }, size: 1 })),
  ).toEqual({
    digest,
    told: { platform: { os: 'linux', architecture: 'amd64' } },
  });
  expect(() => sourceName('{"digest":"sha256:1"}')).toThrow('has the digest "sha256:1"');
  expect(() => sourceName('{')).toThrow('no JSON');
  expect(() => sourceName('A B')).toThrow();
});
