/** Provenance of real builds, asked for as buildx and buildctl ask: in an image, a registry, an archive and files. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Descriptor, Digest, Index, Manifest } from '../../../src/oci/types.ts';
import { closePool } from '../../../src/workers/pool.ts';
import { busyboxRoot } from '../../kit/busybox.ts';
import { answerGit } from '../../kit/git-server.ts';
import { startServer, type TestServer } from '../../kit/http-server.ts';
import { startRegistry, type TestRegistry } from '../../kit/registry.ts';
import { onStores } from '../../kit/stores.ts';
import { ControlKit, failure } from './control-kit.ts';

let dir: string;
let server: TestServer;
let registry: TestRegistry;
/** Of what the server has: a repository `app.git` and the file `file`. */
let commit: string;
const fileDigest = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
const indexType = 'application/vnd.oci.image.index.v1+json';
const manifestType = 'application/vnd.oci.image.manifest.v1+json';

const git = (...args: string[]) =>
  execFileSync('git', ['-c', 'safe.directory=*', '-c', 'user.name=a', '-c', 'user.email=a@b', ...args], {
    cwd: join(dir, 'app.git'),
    env: { PATH: process.env.PATH, HOME: dir, GIT_CONFIG_NOSYSTEM: '1' },
    encoding: 'utf8',
  }).trim();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-provenance-'));
  registry = await startRegistry();
  server = await startServer((request, response) => {
    if (request.url === '/file') response.end('hello');
    else answerGit(request, response, dir);
  });
  mkdirSync(join(dir, 'app.git/sub'), { recursive: true });
  writeFileSync(join(dir, 'app.git/sub/x.Dockerfile'), 'FROM scratch\nCOPY x.Dockerfile /\n');
  git('init', '-q', '-b', 'main');
  git('add', '.');
  git('commit', '-qm', 'first');
  commit = git('rev-parse', 'HEAD');
});
afterAll(async () => {
  await server.stop();
  await registry.stop();
  await closePool();
  rmSync(dir, { recursive: true, force: true });
});

// biome-ignore lint/suspicious/noExplicitAny: JSON
type Json = any;

onStores('provenance', (store) => {
  let kit: ControlKit;
  let base: string;
  beforeAll(async () => {
    kit = await ControlKit.start(store.options());
    base = `${registry.host}/${store.kind}/base:1`;
    const root = mkdtempSync(join(kit.daemon.dir, 'base-'));
    busyboxRoot(root);
    writeFileSync(join(root, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
    await kit.solve(
      { Frontend: 'dockerfile.v0', Exporters: [{ Type: 'image', Attrs: { name: base, push: 'true' } }] },
      { dirs: { context: root, dockerfile: root } },
    );
  });
  afterAll(() => kit.daemon.stop());

  const read = async (digest: string): Promise<Buffer> =>
    Buffer.from(await kit.daemon.engine.store.content.bytes(digest as Digest));
  const json = async (digest: string): Promise<Json> => JSON.parse((await read(digest)).toString());

  /** What an index holds: its image, and the statement about it with all around it. */
  async function attested(digest: string | undefined) {
    const index: Index = await json(digest ?? '');
    const [image, entry] = index.manifests as [Descriptor, Descriptor];
    const manifest: Manifest = await json(entry.digest);
    const statement = await json(manifest.layers[0]?.digest ?? '');
    return { index, image, entry, manifest, statement, predicate: statement.predicate };
  }

  const build = async (
    attest: string,
    {
      dockerfile = 'FROM scratch\nCOPY f /f\n',
      options = {},
      exporters = [['image', {}]],
      session = {},
      outputs = {},
      context = true,
    }: {
      dockerfile?: string;
      options?: Record<string, string>;
      exporters?: [string, Record<string, string>][];
      session?: { secrets?: Record<string, string> };
      outputs?: Record<number, { dir: string } | { file: string }>;
      context?: boolean;
    } = {},
  ) => {
    const folder = kit.folder({ Dockerfile: dockerfile, f: 'hello' });
    const dirs: Record<string, string> = context ? { context: folder, dockerfile: folder } : {};
    const { response } = await kit.solve(
      {
        Frontend: 'dockerfile.v0',
        FrontendAttrs: { 'attest:provenance': attest, ...options },
        Exporters: exporters.map(([Type, Attrs]) => ({ Type, Attrs })),
      },
      { dirs, outputs, ...session },
    );
    return response;
  };

  describe('of an image', () => {
    test('an index has the image and a manifest of no platform, which refers to it and holds the statement', async () => {
      const response = await build('', {
        exporters: [['image', { name: 'example.com/a:1,example.com/b:2' }]],
      });
      const { index, image, entry, manifest, statement } = await attested(response['containerimage.digest']);
      expect(index.mediaType).toBe(indexType);
      expect(index.manifests).toHaveLength(2);
      expect(image.platform).toMatchObject({ os: 'linux' });
      expect(entry).toMatchObject({
        mediaType: manifestType,
        platform: { architecture: 'unknown', os: 'unknown' },
        annotations: {
          'vnd.docker.reference.type': 'attestation-manifest',
          'vnd.docker.reference.digest': image.digest,
        },
      });
      expect(manifest).toMatchObject({
        artifactType: 'application/vnd.docker.attestation.manifest.v1+json',
        config: { mediaType: 'application/vnd.oci.empty.v1+json', size: 2 },
        subject: { mediaType: image.mediaType, digest: image.digest, size: image.size },
      });
      expect(manifest.layers).toEqual([
        {
          mediaType: 'application/vnd.in-toto+json',
          digest: expect.any(String),
          size: expect.any(Number),
          annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v1' },
        },
      ]);
      expect(statement).toMatchObject({
        _type: 'https://in-toto.io/Statement/v1',
        predicateType: 'https://slsa.dev/provenance/v1',
        subject: [
          {
            name: 'pkg:docker/example.com/a@1?platform=linux%2Famd64',
            digest: { sha256: image.digest.slice(7) },
          },
          {
            name: 'pkg:docker/example.com/b@2?platform=linux%2Famd64',
            digest: { sha256: image.digest.slice(7) },
          },
        ],
      });
    });

    test('oci-artifact=false: a manifest that looks like an image', async () => {
      const response = await build('mode=min', { exporters: [['image', { 'oci-artifact': 'false' }]] });
      const { manifest } = await attested(response['containerimage.digest']);
      expect(manifest.artifactType).toBeUndefined();
      expect(manifest.subject).toBeUndefined();
      expect(manifest.config.mediaType).toBe('application/vnd.oci.image.config.v1+json');
      expect(await json(manifest.config.digest)).toMatchObject({
        os: 'unknown',
        architecture: 'unknown',
        rootfs: { type: 'layers', diff_ids: [manifest.layers[0]?.digest] },
      });
    });

    test('each platform has its own', async () => {
      const response = await build('mode=min', { options: { platform: 'linux/amd64,linux/arm64' } });
      const index: Index = await json(response['containerimage.digest'] ?? '');
      expect(index.manifests.map(({ platform }) => platform?.architecture)).toEqual([
        'amd64',
        'arm64',
        'unknown',
        'unknown',
      ]);
      expect(
        index.manifests.slice(2).map(({ annotations }) => annotations?.['vnd.docker.reference.digest']),
      ).toEqual(index.manifests.slice(0, 2).map(({ digest }) => digest));
    });

    test('capture-usage: what each step that ran has used, and the machine meanwhile', async () => {
      const options = { 'build-arg:BASE': base };
      const dockerfile = 'ARG BASE\nFROM $BASE\nCOPY f /f\nRUN echo $RANDOM > /used\n';
      const { predicate } = await attested(
        (await build('capture-usage=true', { dockerfile, options }))['containerimage.digest'],
      );
      const steps: Json[] = predicate.buildDefinition.internalParameters.buildConfig.llbDefinition;
      expect(
        steps.map(({ op, resourceUsage }) => [Object.keys(op.Op)[0], resourceUsage !== undefined]),
      ).toEqual(steps.map(({ op }) => [Object.keys(op.Op)[0], op.Op.exec !== undefined]));
      const ran = steps.find(({ resourceUsage }) => resourceUsage !== undefined);
      expect(ran?.resourceUsage.samples.at(-1)).toMatchObject({
        timestamp: expect.any(String),
        cpuStat: { usageNanos: expect.any(Number) },
        memoryStat: { peak: expect.any(Number) },
      });
      const { sysUsage } = predicate.runDetails.metadata.buildkit_metadata;
      expect(sysUsage.at(-1)).toMatchObject({ cpuStat: {}, procStat: {}, memoryStat: {} });
      // Without the parameter there is none, and a cached step has used nothing.
      const plain = await attested((await build('', { dockerfile, options }))['containerimage.digest']);
      expect(JSON.stringify(plain.predicate)).not.toMatch(/resourceUsage|sysUsage/);
      const again = await attested(
        (await build('capture-usage=true', { dockerfile, options }))['containerimage.digest'],
      );
      expect(JSON.stringify(again.predicate)).not.toContain('resourceUsage');
    });

    test('a registry has all of it after a push, and again after a push of the stored image', async () => {
      const name = `${registry.host}/${store.kind}/pushed:1`;
      const response = await build('', { exporters: [['image', { name }]] });
      const digest = response['containerimage.digest'] ?? '';
      const { image, entry, manifest } = await attested(digest);
      const { pushImage } = await import('../../../src/images/push.ts');
      const { engine } = kit.daemon;
      const { target } = await pushImage(engine.store, engine.registry, name);
      expect(target.digest).toBe(digest);
      const ask = (what: string) =>
        fetch(`http://${registry.host}/v2/${store.kind}/pushed/${what}`, {
          headers: { accept: `${indexType},${manifestType}` },
        });
      const tagged = (await (await ask('manifests/1')).json()) as Index;
      expect(tagged.manifests.map((each) => each.digest)).toEqual([image.digest, entry.digest]);
      expect((await ask(`manifests/${entry.digest}`)).status).toBe(200);
      for (const blob of [manifest.config, ...manifest.layers]) {
        expect((await ask(`blobs/${blob.digest}`)).status).toBe(200);
      }
      // Sent by the output itself, by its digest alone.
      const direct = `${registry.host}/${store.kind}/direct:1`;
      const again = await build('', {
        exporters: [['image', { name: direct, push: 'true', 'push-by-digest': 'true', store: 'false' }]],
      });
      const there = await fetch(
        `http://${registry.host}/v2/${store.kind}/direct/manifests/${again['containerimage.digest']}`,
        { headers: { accept: indexType } },
      );
      const { manifests } = (await there.json()) as Index;
      expect(manifests[1]?.annotations?.['vnd.docker.reference.digest']).toBe(manifests[0]?.digest);
    });

    test('oci-mediatypes=false: refused where a provenance was asked for, none where it was not', async () => {
      const docker: [string, Record<string, string>][] = [['image', { 'oci-mediatypes': 'false' }]];
      const refused = await failure(build('mode=min', { exporters: docker }));
      expect(refused.rawMessage).toContain('cannot export attestations with "oci-mediatypes=false"');
      const response = await build('mode=min,inline-only=true', { exporters: docker });
      expect((await json(response['containerimage.digest'] ?? '')).layers).toHaveLength(1);
    });
  });

  describe('what it says', () => {
    const dockerfile = () =>
      [
        `FROM ${base} AS first`,
        'ARG VERSION',
        'RUN --mount=type=secret,id=token --mount=type=ssh,required=false echo $VERSION > /v',
        'FROM first',
        `ADD http://user:hunter22@${server.host}/file /file`,
        'COPY f /f',
      ].join('\n');
    const options = { 'build-arg:VERSION': 'one', 'label:a': 'b', filename: 'Dockerfile' };
    const session = { secrets: { token: 'swordfish' } };
    const platform = process.arch === 'arm64' ? 'arm64' : 'amd64';

    test('of a build of a Dockerfile, in max', async () => {
      const before = Date.now();
      const response = await build('mode=max,builder-id=https://ci/1', {
        dockerfile: dockerfile(),
        options,
        session,
      });
      const { predicate, image } = await attested(response['containerimage.digest']);
      const { externalParameters, internalParameters, resolvedDependencies } = predicate.buildDefinition;
      expect(externalParameters).toEqual({
        configSource: { path: 'Dockerfile' },
        request: {
          frontend: 'dockerfile.v0',
          args: { 'build-arg:VERSION': 'one', 'label:a': 'b' },
          secrets: [{ id: 'token', optional: true }],
          ssh: [{ id: 'default', optional: true }],
          locals: [{ name: 'context' }, { name: 'dockerfile' }],
        },
      });
      const target = await kit.daemon.engine.store.images.get(base);
      expect(resolvedDependencies).toEqual([
        {
          uri: `pkg:docker/${encodeURIComponent(registry.host)}/${store.kind}/base@1?platform=linux%2F${platform}`,
          digest: { sha256: target?.target.digest.slice(7) },
        },
        { uri: `http://xxxxx:xxxxx@${server.host}/file`, digest: { sha256: fileDigest } },
      ]);
      expect(internalParameters.builderPlatform).toBe(`linux/${platform}`);
      const steps: Json[] = internalParameters.buildConfig.llbDefinition;
      const exec = steps.find(({ op }) => op.Op.exec !== undefined);
      expect(exec.op.Op.exec.meta.args).toEqual(['/bin/sh', '-c', 'echo $VERSION > /v']);
      expect(exec.op.Op.exec.mounts).toContainEqual(
        expect.objectContaining({ mountType: 1, secretOpt: expect.objectContaining({ ID: 'token' }) }),
      );
      expect(exec.inputs).toEqual(['step0:0']);
      const { builder, metadata } = predicate.runDetails;
      expect(builder).toEqual({ id: 'https://ci/1' });
      expect(metadata.invocationId).toMatch(/./);
      expect(Date.parse(metadata.startedOn)).toBeGreaterThanOrEqual(before);
      expect(Date.parse(metadata.finishedOn)).toBeGreaterThanOrEqual(Date.parse(metadata.startedOn));
      expect(metadata.buildkit_completeness).toEqual({ request: true, resolvedDependencies: false });
      expect(metadata.buildkit_hermetic).toBeUndefined();
      const { source, layers } = metadata.buildkit_metadata;
      const text = Buffer.from(source.infos[0].data, 'base64').toString();
      expect(source.infos[0].filename).toBe('Dockerfile');
      expect(text).toBe(dockerfile().replace('user:hunter22', 'xxxxx:xxxxx'));
      const [{ ranges }] = source.locations[exec.id].locations;
      expect(ranges[0].start.line).toBe(3);
      const manifest: Manifest = await json(image.digest);
      const last = steps.at(-1).inputs[0];
      expect(layers[last]).toEqual([
        manifest.layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
      ]);
      expect(layers['step0:0'][0]).toHaveLength(1);
    });

    test('no secret, password or path of this machine is in it, nor in its manifest', async () => {
      for (const attest of ['mode=max', 'mode=min', 'mode=max,version=v0.2']) {
        const response = await build(attest, { dockerfile: dockerfile(), options, session });
        const { manifest } = await attested(response['containerimage.digest']);
        const text = (await read(manifest.layers[0]?.digest ?? '')).toString();
        const decoded = [...text.matchAll(/"data":"([^"]+)"/g)].map(([, data = '']) =>
          Buffer.from(data, 'base64').toString(),
        );
        for (const hidden of ['swordfish', 'hunter22', kit.daemon.dir, tmpdir()]) {
          expect(text + decoded).not.toContain(hidden);
        }
      }
    });

    test('in min, no value of an argument or label either', async () => {
      const response = await build('mode=min', { dockerfile: dockerfile(), options, session });
      const { statement, predicate } = await attested(response['containerimage.digest']);
      const { request } = predicate.buildDefinition.externalParameters;
      expect(request).toEqual({
        frontend: 'dockerfile.v0',
        locals: [{ name: 'context' }, { name: 'dockerfile' }],
      });
      // A folder that no step reads is named all the same.
      const unread = await build('mode=min', { dockerfile: `FROM ${base}\nLABEL a=b\n` });
      const { externalParameters } = (await attested(unread['containerimage.digest'])).predicate
        .buildDefinition;
      expect(externalParameters.request.locals).toEqual(request.locals);
      expect(JSON.stringify(statement)).not.toContain('VERSION');
      expect(predicate.runDetails.metadata.buildkit_completeness.request).toBe(false);
    });

    test('a build from a repository is complete and hermetic', async () => {
      const context = `http://user:hunter22@${server.host}/app.git#main:sub`;
      const response = await build('mode=max,version=v0.2,complete-materials=true', {
        options: { context, filename: 'x.Dockerfile' },
        context: false,
      });
      const { statement, predicate } = await attested(response['containerimage.digest']);
      expect(statement.predicateType).toBe('https://slsa.dev/provenance/v0.2');
      expect(predicate.invocation.configSource).toEqual({
        uri: `http://xxxxx:xxxxx@${server.host}/app.git#main:sub`,
        digest: { sha1: commit },
        entryPoint: 'x.Dockerfile',
      });
      expect(predicate.materials).toEqual([
        { uri: `http://xxxxx:xxxxx@${server.host}/app.git#main`, digest: { sha1: commit } },
      ]);
      expect(predicate.metadata.completeness).toEqual({
        parameters: true,
        environment: true,
        materials: true,
      });
      expect(predicate.metadata['https://mobyproject.org/buildkit@v1#hermetic']).toBe(true);
    });

    test('a cached build was made of the same', async () => {
      const materials = async () => {
        const response = await build('mode=min', { dockerfile: dockerfile(), options, session });
        const { predicate } = await attested(response['containerimage.digest']);
        return predicate.buildDefinition.resolvedDependencies;
      };
      const first = await materials();
      expect(first).toHaveLength(2);
      expect(await materials()).toEqual(first);
    });

    test('an image’s unused stage is no material', async () => {
      const response = await build('mode=min', {
        dockerfile: `FROM ${base} AS unused\nRUN false\nFROM scratch\nCOPY f /f\n`,
      });
      const { predicate } = await attested(response['containerimage.digest']);
      expect(predicate.buildDefinition.resolvedDependencies).toBeUndefined();
    });
  });

  describe('of archives and files', () => {
    const folder = () => mkdtempSync(join(kit.daemon.dir, 'out-'));

    test('type=oci has it beside the image; type=docker has none', async () => {
      const out = folder();
      const tar = (name: string) => ({ file: join(out, name) });
      await build('mode=min', {
        exporters: [
          ['oci', {}],
          ['docker', {}],
        ],
        outputs: { 0: tar('oci.tar'), 1: tar('docker.tar') },
      });
      const within = (archive: string, path: string): Json =>
        JSON.parse(execFileSync('tar', ['xOf', join(out, archive), path], { encoding: 'utf8' }));
      const blob = (digest: string) => within('oci.tar', `blobs/sha256/${digest.slice(7)}`);
      const [top] = within('oci.tar', 'index.json').manifests;
      expect(top.mediaType).toBe(indexType);
      const [image, entry] = blob(top.digest).manifests;
      const manifest: Manifest = blob(entry.digest);
      expect(blob(manifest.config.digest)).toEqual({});
      expect(blob(manifest.layers[0]?.digest ?? '').subject).toEqual([
        { name: '_', digest: { sha256: image.digest.slice(7) } },
      ]);
      expect(within('docker.tar', 'index.json').manifests[0].mediaType).toBe(manifestType);
    });

    test('inline-only, as buildx asks by default: where layers are packed anyway, or where the output says so', async () => {
      const out = folder();
      const name = `${registry.host}/${store.kind}/inline`;
      await build('mode=min,inline-only=true', {
        exporters: [
          ['image', { name: `${name}:stored` }],
          ['oci', {}],
          ['oci', { 'attestation-inline': 'true' }],
          ['local', {}],
          ['image', { name: `${name}:pushed`, push: 'true' }],
          ['image', { name: `${name}:asked`, 'attestation-inline': 'true' }],
        ],
        outputs: {
          1: { file: join(out, 'plain.tar') },
          2: { file: join(out, 'inline.tar') },
          3: { dir: join(out, 'files') },
        },
      });
      const type = (archive: string) =>
        JSON.parse(execFileSync('tar', ['xOf', join(out, archive), 'index.json'], { encoding: 'utf8' }))
          .manifests[0].mediaType;
      expect(type('plain.tar')).toBe(manifestType);
      expect(type('inline.tar')).toBe(indexType);
      expect(execFileSync('ls', [join(out, 'files')], { encoding: 'utf8' })).toBe('f\n');
      const stored = async (tag: string) =>
        (await kit.daemon.engine.store.images.get(`${name}:${tag}`))?.target.mediaType;
      expect([await stored('stored'), await stored('pushed'), await stored('asked')]).toEqual([
        manifestType,
        indexType,
        indexType,
      ]);
    });

    test('type=local: a file that states what the others are, one for each platform', async () => {
      const out = folder();
      const options = { platform: 'linux/amd64,linux/arm64' };
      await build('filename=how.json', { exporters: [['local', {}]], options, outputs: { 0: { dir: out } } });
      for (const platform of ['linux_amd64', 'linux_arm64']) {
        const statement = JSON.parse(readFileSync(join(out, platform, 'how.json'), 'utf8'));
        expect(statement.subject).toEqual([{ name: 'f', digest: { sha256: fileDigest } }]);
        expect(statement.predicate.buildDefinition.externalParameters.request.frontend).toBe('dockerfile.v0');
      }
    });

    test('type=tar with a prefix; platforms in one place have their names in it', async () => {
      const out = join(folder(), 'out.tar');
      const dockerfile = 'FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\n';
      const options = { platform: 'linux/amd64,linux/arm64' };
      await build('', {
        dockerfile,
        options,
        exporters: [['tar', { 'attestation-prefix': 'x.', 'platform-split': 'false' }]],
        outputs: { 0: { file: out } },
      });
      const listed = execFileSync('tar', ['tf', out], { encoding: 'utf8' }).trim().split('\n').sort();
      expect(listed).toEqual([
        'f-amd64',
        'f-arm64',
        'x.provenance.linux_amd64.json',
        'x.provenance.linux_arm64.json',
      ]);
    });

    test('a file of the result is not written over', async () => {
      const dockerfile = 'FROM scratch\nCOPY f /provenance.json\n';
      const outputs = { 0: { dir: folder() } };
      const error = await failure(build('', { dockerfile, exporters: [['local', {}]], outputs }));
      expect(error.rawMessage).toContain('the result has a file "provenance.json" of its own');
      const prefixed: [string, Record<string, string>][] = [['local', { 'attestation-prefix': 'x-' }]];
      await build('', { dockerfile, exporters: prefixed, outputs });
      expect(readFileSync(join(outputs[0].dir, 'x-provenance.json'), 'utf8')).toContain('"provenance.json"');
    });
  });

  test.each([
    ['attest:provenance', 'mode=large', 'provenance: mode=large cannot be'],
    [
      'attest:provenance',
      'complete-materials=true',
      'not complete: folders of the client: context, dockerfile',
    ],
    ['attest:sbom', 'formal=spdx', 'the built-in scanner has no parameter "formal"'],
    ['build-arg:BUILDKIT_ATTEST_SBOM', 'generator=', 'sbom: generator is empty'],
  ])('refused by name: %s=%s', async (name, value, message) => {
    const error = await failure(build('disabled=true', { options: { [name]: value } }));
    expect(error.rawMessage).toContain(message);
  });
});
