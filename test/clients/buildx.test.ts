/**
 * The real buildx, as a docker CLI has it, at a daemon: what it states of images for two platforms, read back from the
 * registry by buildx itself and by the real cosign.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { cosign, cosignKeys } from '../kit/cosign.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { onStores } from '../kit/stores.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON
type Json = any;
/** Debian's, which `scripts/setup.sh test` fetches. */
const program = '/usr/local/lib/drydock-test/docker-buildx';
const platforms = ['linux/amd64', 'linux/arm64'];
/** Each platform's image has this machine's busybox: so its steps run, too, without an emulator. */
const dockerfile = `FROM --platform=$BUILDPLATFORM scratch AS make
COPY busybox /bin/sh
ARG TARGETARCH
RUN echo $TARGETARCH > /arch
FROM scratch
COPY busybox /bin/sh
COPY status /var/lib/dpkg/status
COPY --from=make /arch /arch
RUN read arch < /arch; echo made for $arch > /made
`;
const status = 'Package: hello\nStatus: install ok installed\nArchitecture: all\nVersion: 1.2\n\n';

// Each test starts a program of 60 MB several times.
vi.setConfig({ testTimeout: 180_000 });

onStores('buildx', (store) => {
  let daemon: TestDaemon;
  let registry: TestRegistry;
  let context: string;
  beforeAll(async () => {
    registry = await startRegistry();
    daemon = await startTestDaemon({ ...store.options(), grpc: (host) => buildkitApi(host) });
    context = mkdtempSync(join(daemon.dir, 'context-'));
    writeFileSync(join(context, 'Dockerfile'), dockerfile);
    writeFileSync(join(context, 'status'), status);
    copyFileSync('/bin/busybox', join(context, 'busybox'));
    mkdirSync(join(daemon.dir, 'keys'));
    await cosignKeys(join(daemon.dir, 'keys'));
  });
  afterAll(async () => {
    await daemon.stop();
    await registry.stop();
  });

  const buildx = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise((resolve) => {
      const env = { PATH: process.env.PATH, HOME: daemon.dir, DOCKER_HOST: daemon.host };
      execFile(program, args, { cwd: context, env, maxBuffer: 64 << 20 }, (err, stdout, stderr) =>
        resolve({ code: err === null ? 0 : Number(err.code ?? 1), stdout, stderr }),
      );
    });
  const ok = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await buildx(...args);
    expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
    return stdout;
  };
  const inspect = async (name: string, field: string): Promise<Json> =>
    JSON.parse(await ok('imagetools', 'inspect', name, '--format', `{{json .${field}}}`));

  test('states of both platforms what it was made of and which packages it has', async () => {
    const name = `${registry.host}/two:1`;
    const metadata = join(daemon.dir, 'metadata.json');
    const asked = ['--provenance=mode=max', '--sbom=true', '--platform', platforms.join(',')];
    await ok('build', ...asked, '--push', '-t', name, '--metadata-file', metadata, '.');
    const index = JSON.parse(await ok('imagetools', 'inspect', '--raw', name));
    const [first, second, ...stated] = index.manifests;
    expect([first, second].map(({ platform }) => `${platform.os}/${platform.architecture}`)).toEqual(
      platforms,
    );
    expect(stated.map(({ platform, annotations }: Json) => [platform.os, annotations])).toEqual(
      [first, second].map(({ digest }) => [
        'unknown',
        { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': digest },
      ]),
    );
    const { digest } = JSON.parse(await ok('imagetools', 'inspect', name, '--format', '{{json .Manifest}}'));
    expect(JSON.parse(readFileSync(metadata, 'utf8'))['containerimage.digest']).toBe(digest);
    const provenance = await inspect(name, 'Provenance');
    const sbom = await inspect(name, 'SBOM');
    for (const platform of platforms) {
      const { buildDefinition, runDetails } = provenance[platform].SLSA;
      expect(buildDefinition.externalParameters.request.frontend).toBe('dockerfile.v0');
      expect(runDetails.metadata.invocationId).toMatch(/^[0-9a-f-]{36}$/);
      const steps: Json[] = buildDefinition.internalParameters.buildConfig.llbDefinition;
      const run = steps.flatMap(({ op }) => op.Op?.exec?.meta?.args ?? []);
      expect(run).toContain('read arch < /arch; echo made for $arch > /made');
      const { packages } = sbom[platform].SPDX;
      expect(packages.map(({ name }: Json) => name)).toContain('hello');
    }
  });

  test('an index that the output signs is verified by cosign', async () => {
    const name = `${registry.host}/signed:1`;
    const keys = join(daemon.dir, 'keys');
    const secrets = ['key', 'password'].flatMap((id) => [
      '--secret',
      `id=${id},src=${join(keys, `cosign.${id}`)}`,
    ]);
    writeFileSync(join(keys, 'cosign.password'), 'pw');
    const output = `type=image,name=${name},push=true,sign-key=key,sign-password=password,sign-tlog-upload=false`;
    await ok('build', '--sbom=true', '--platform', platforms.join(','), ...secrets, '--output', output, '.');
    const args = ['verify', '--key', 'cosign.pub', '--insecure-ignore-tlog', name];
    expect(await cosign('sid', keys, ...args)).toMatchObject({ code: 0 });
    const unsigned = args.with(-1, `${registry.host}/two:1`);
    expect((await cosign('sid', keys, ...unsigned)).code).not.toBe(0);
  });

  test('a cache in its folder keeps as many exports as it is told', async () => {
    const folder = join(context, 'cache');
    const builder = `remote-${store.kind}`;
    await ok('create', '--name', builder, '--driver', 'remote', daemon.host);
    const found = () => readdirSync(join(folder, 'blobs/sha256'));
    const sizes: number[] = [];
    for (const text of ['1', '2', '3', '4']) {
      writeFileSync(join(context, 'status'), `${status}${text}`);
      const to = `type=local,dest=${folder},keep=2`;
      await ok('build', '--builder', builder, '--platform', 'linux/amd64', '--cache-to', to, '.');
      sizes.push(found().length);
    }
    const [first = 0, second = 0, ...rest] = sizes;
    expect(second).toBeGreaterThan(first);
    expect(rest).toEqual([second, second]);
    const { manifests } = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'));
    expect(manifests).toHaveLength(1);
    expect(found()).toContain(manifests[0].digest.slice('sha256:'.length));
    writeFileSync(join(context, 'status'), status);
  });

  test('bake states what its file asks for', async () => {
    const names = ['one', 'other'].map((target) => `${registry.host}/${target}:1`);
    const target = (name: string, attest: string[]) =>
      `target "${name}" {\n  tags = ["${registry.host}/${name}:1"]\n  attest = ${JSON.stringify(attest)}\n}\n`;
    writeFileSync(
      join(context, 'docker-bake.hcl'),
      `group "default" { targets = ["one", "other"] }\n${target('one', ['type=provenance,mode=min', 'type=sbom'])}${target('other', ['type=provenance,disabled=true'])}`,
    );
    await ok('bake', '--push');
    const [one = '', other = ''] = names;
    expect((await inspect(one, 'SBOM')).SPDX.packages.map(({ name }: Json) => name)).toContain('hello');
    const { SLSA } = await inspect(one, 'Provenance');
    expect(SLSA.buildDefinition.internalParameters.buildConfig).toBeUndefined();
    expect(JSON.parse(await ok('imagetools', 'inspect', '--raw', other)).config).toBeDefined();
  });

  test('a scanner that is not there fails the build, and there is no image', async () => {
    const name = `${registry.host}/none:1`;
    const { code, stderr } = await buildx(
      'build',
      '--sbom=generator=localhost:1/none',
      '--push',
      '-t',
      name,
      '.',
    );
    expect([code, stderr]).toEqual([1, expect.stringContaining('localhost:1')]);
    expect((await buildx('imagetools', 'inspect', name)).code).not.toBe(0);
  });
});
