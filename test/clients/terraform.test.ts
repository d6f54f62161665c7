/**
 * Terraform's docker provider 3.0.2 and the program of moby#47717, request by request: a tar posted to `/build` with
 * `version=2`, whatever becomes of the session that it names, or with none. dockerd with the containerd store answers
 * them with a 403 of its own making.
 */
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readBuild } from '../kit/build-answer.ts';
import { GoDockerClient } from '../kit/clients/go-docker.ts';
import { outsideName, sessionRaces, TerraformProvider } from '../kit/clients/terraform.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { imageOf, putImage, type TestFile, tarOf } from '../kit/images.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { SessionClient } from '../kit/session/session-client.ts';
import { onLocal } from '../kit/stores.ts';

const account = { username: 'ann', password: 's3cret' };
const busybox = { data: readFileSync('/bin/busybox'), mode: 0o755 };

function contextOf(steps: string, name = 'Dockerfile', more: Record<string, TestFile> = {}): Buffer {
  return tarOf({ [name]: `FROM scratch\nCOPY busybox /bin/sh\n${steps}\n`, busybox, ...more });
}

onLocal('a tar with version=2', (store) => {
  let daemon: TestDaemon;
  let registry: TestRegistry;
  /** One that wants an account. */
  let closed: TestRegistry;
  let provider: TerraformProvider;
  beforeAll(async () => {
    registry = await startRegistry();
    closed = await startRegistry({ basic: account });
    daemon = await startTestDaemon(store.options());
    provider = new TerraformProvider(daemon);
  });
  afterAll(async () => {
    provider.close();
    await daemon.stop();
    await registry.stop();
    await closed.stop();
  });

  describe.each(sessionRaces)('Terraform, its session %s', (race) => {
    const name = `terraform-${race}:1`;
    const step = `RUN echo ${race} > /out`;

    test('creates an image, and creates it again from the cache', async () => {
      const context = contextOf(step);
      const created = await provider.create({ name, context, labels: { by: 'terraform' } }, race);
      expect(created.build).toMatchObject({ id: created.imageId, text: '' });
      expect(created.build.done).toContain(`[2/2] ${step}`);
      expect(created.build.cached).not.toContain(`[2/2] ${step}`);
      expect(created.id).toBe(`${created.imageId}${name}`);
      // No repository has it, and none would get it in these very bytes.
      expect(created.repoDigest).toBe('');
      const again = await provider.create({ name, context, labels: { by: 'terraform' } }, race);
      expect(again).toMatchObject({ imageId: created.imageId, repoDigest: created.repoDigest });
      expect(again.build.cached).toContain(`[2/2] ${step}`);
    });

    test('reads, destroys and no longer finds it', async () => {
      expect(await provider.read(name)).toMatchObject({ imageId: expect.stringMatching(/^sha256:/) });
      const gone = await provider.destroy({ name, context: Buffer.alloc(0) });
      expect(gone[0]).toEqual({ Untagged: name });
      expect(await provider.read(name)).toBeUndefined();
    });
  });

  test('Terraform: a Dockerfile from outside the context comes in the tar under a random name', async () => {
    const dockerfile = outsideName();
    const context = contextOf('ARG A\nRUN echo $A > /out', dockerfile, {
      '.dockerignore': `${dockerfile}\n`,
    });
    const image = { name: 'outside:1', context, dockerfile, buildArgs: { A: 'b' } };
    const { build } = await provider.create(image, 'dead');
    expect(build.done).toContain('[2/2] RUN echo b > /out');
  });

  test('Terraform: build arguments ask for statements, which stay with the image, and the plan stays empty', async () => {
    const buildArgs = { BUILDKIT_ATTEST_PROVENANCE: 'mode=min', BUILDKIT_ATTEST_SBOM: '' };
    const image = { name: 'stated:1', context: contextOf('LABEL stated=1'), buildArgs };
    const { imageId } = await provider.create(image, 'dead');
    const stated = (await daemon.ask('GET', '/v1.51/images/stated:1/attestations')).json<
      { PredicateType: string }[]
    >();
    expect(stated.map(({ PredicateType }) => PredicateType)).toEqual([
      'https://spdx.dev/Document',
      'https://slsa.dev/provenance/v1',
    ]);
    expect((await provider.create(image, 'dead')).imageId).toBe(imageId);
    expect(await provider.read('stated:1')).toMatchObject({ imageId });
  });

  test('Terraform: the base image comes from a registry, for which a dead session has no account', async () => {
    const base = await putImage(registry.host, 'base:1', imageOf([tarOf({ 'bin/sh': busybox })]));
    const context = tarOf({ Dockerfile: `FROM ${base}\nRUN : from a registry\n` });
    const { build } = await provider.create({ name: 'based:1', context }, 'dead');
    expect(build.done).toContain('[2/2] RUN : from a registry');
  });

  test('Terraform: a step that fails is told word for word, and leaves no image', async () => {
    const context = contextOf('RUN echo broken >&2 && exit 9');
    const failing = provider.create({ name: 'failing:1', context }, 'dead');
    await expect(failing).rejects.toThrow(
      /^failed to build: .*RUN echo broken >&2 && exit 9: .*exit code: 9 \(Dockerfile:3\)\n {2}\| broken$/m,
    );
    expect(await provider.read('failing:1')).toBeUndefined();
  });

  test('Terraform: what only a session can give is asked for by name, and the error says that it is not there', async () => {
    const context = contextOf('RUN --mount=type=secret,id=token,required=true cat /run/secrets/token');
    const failing = provider.create({ name: 'secret:1', context }, 'dead');
    await expect(failing).rejects.toThrow(/secret token.* session \w+ is not connected/);
  });

  test('Terraform: an image is pushed; a registry that wants an account is told of', async () => {
    const name = `${closed.host}/pushed:1`;
    await provider.create({ name, context: contextOf('LABEL pushed=1') }, 'dead');
    await expect(provider.push(name)).rejects.toThrow(/unauthorized|authentication required|401/i);
    await provider.push(name, account);
    const pushed = (await provider.read(name))?.repoDigest;
    expect(pushed).toMatch(/pushed@sha256:/);
    // Applied again, the plan stays empty: the same digest after another build, and after another push.
    const again = await provider.create({ name, context: contextOf('LABEL pushed=1') }, 'dead');
    expect(again.repoDigest).toBe(pushed);
    await provider.push(name, account);
    expect((await provider.read(name))?.repoDigest).toBe(pushed);
  });

  test('Terraform 4: a session that stays gives the secrets, and the tar is gzipped', async () => {
    const session = new SessionClient({ name: 'docker-provider', secrets: { token: 's3cret\n' } });
    await session.connect(daemon.socket);
    const client = new GoDockerClient(daemon, '1.44');
    const step = 'RUN --mount=type=secret,id=token read x < /run/secrets/token && echo "$x" > /out';
    const build = async () =>
      readBuild(
        await client.imageBuild(gzipSync(contextOf(step)), {
          version: '2',
          tags: ['four:1'],
          session: session.id,
        }),
      );
    const first = await build();
    expect(first.error).toBeUndefined();
    expect(first.done).toContain(`[2/2] ${step}`);
    expect(session.calls.map(({ method }) => method)).toContain(
      '/moby.buildkit.secrets.v1.Secrets/GetSecret',
    );
    const second = await build();
    expect(second.id).toBe(first.id);
    expect(second.cached).toContain(`[2/2] ${step}`);
    session.close();
  });

  test.each(['1.45', '1.46'])('moby#47717: Go’s client, API %s, with no session at all', async (version) => {
    const client = new GoDockerClient(daemon, version);
    const step = `RUN echo moby ${version} > /out`;
    const first = readBuild(await client.imageBuild(contextOf(step), { version: '2' }));
    expect(first).toMatchObject({ error: undefined, id: expect.stringMatching(/^sha256:/) });
    expect(first.done).toContain(`[2/2] ${step}`);
    const second = readBuild(await client.imageBuild(contextOf(step), { version: '2' }));
    expect(second.id).toBe(first.id);
    expect(second.cached).toContain(`[2/2] ${step}`);
  });
});
