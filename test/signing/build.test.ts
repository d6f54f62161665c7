/** `build --sign`: an image is signed before it gets its tag, by the command, a daemon, POST /build and the library. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildkitApi } from '../../src/api/buildkit/server.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { build } from '../../src/sdk/build.ts';
import { readPublicKeys } from '../../src/signing/keys.ts';
import { exactly, identitySigner, keySigner } from '../../src/signing/signers.ts';
import { readTrustedRoot } from '../../src/signing/trusted-root.ts';
import { verifyImage } from '../../src/signing/verify-image.ts';
import { busyboxRoot } from '../kit/busybox.ts';
import { Cli } from '../kit/cli.ts';
import { startTestDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { type Sigstore, startSigstore } from '../kit/sigstore.ts';
import { onLocal } from '../kit/stores.ts';

onLocal('build --sign', (store) => {
  const client = new RegistryClient({ userAgent: 'test' });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const keys = readPublicKeys(publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'the test’s');
  let cli: Cli;
  let daemon: TestDaemon;
  let registry: TestRegistry;
  let sigstore: Sigstore;
  let dir: string;

  beforeAll(async () => {
    cli = new Cli();
    registry = await startRegistry();
    sigstore = await startSigstore();
    daemon = await startTestDaemon({ ...store.options(), grpc: (host) => buildkitApi(host) });
    dir = cli.files('app', { Dockerfile: 'FROM scratch\nCOPY f /f\n', f: 'F', 'sign.key': pem });
  });
  afterAll(async () => {
    await daemon?.stop();
    await sigstore?.stop();
    await registry?.stop();
    cli.close();
  });

  const env = (there: boolean) => (there ? { DRYDOCK_HOST: daemon.host } : store.env());
  const verified = async (ref: string, signer = keySigner('key', keys, undefined)) => {
    const { digest } = await client.resolve(ref);
    return verifyImage(client, ref, digest, { signers: [signer] }, {});
  };

  test.each([
    ['in process', false],
    ['at a daemon', true],
  ])('the command signs what it pushes, %s', async (name, there) => {
    const ref = `${registry.host}/cli:${name.split(' ')[1]}`;
    const sign = `key=${join(dir, 'sign.key')},tlog-upload=false,annotation.by=me`;
    const args = ['build', '--progress=plain', '--sign', sign, '--push', '-t', ref, dir];
    const { stderr } = await cli.ok(args, { env: env(there) });
    expect(stderr).toMatch(new RegExp(`signing ${registry.host}/cli@sha256:\\w{64}`));
    expect(await verified(ref)).toMatchObject([{ annotations: { by: 'me' }, kind: 'bundle' }]);
    expect(stderr).not.toContain('sign-key');
  });

  test('an image that cannot be signed gets no tag', async () => {
    const ref = `${registry.host}/untagged:1`;
    const sign = `key=${join(dir, 'sign.key')},rekor-url=http://127.0.0.1:9`;
    const { code, stderr } = await cli.run(['build', '--sign', sign, '--push', '-t', ref, dir], {
      env: env(true),
    });
    expect(code).toBe(1);
    expect(stderr).toContain('Rekor at http://127.0.0.1:9 does not answer');
    await expect(client.resolve(ref)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('an index of several platforms is signed as a whole, and its images with recursive', async () => {
    const ref = `${registry.host}/many:1`;
    const sign = `key=${join(dir, 'sign.key')},tlog-upload=false,recursive`;
    const platforms = ['--platform', 'linux/amd64,linux/arm64', '--provenance=true'];
    await cli.ok(['build', '--sign', sign, '--push', ...platforms, '-t', ref, dir], { env: env(true) });
    const { bytes } = await client.manifest(ref);
    const { manifests } = JSON.parse(bytes.toString()) as { manifests: { digest: string }[] };
    expect(manifests).toHaveLength(4);
    await verified(ref);
    for (const { digest } of manifests) await verified(`${registry.host}/many@${digest}`);
  });

  test('a program of the library signs with a token, and a client of POST /build with secrets of its own', async () => {
    const ref = `${registry.host}/sdk:1`;
    await build({
      context: dir,
      tags: [ref],
      engine: daemon.engine,
      outputs: [{ type: 'image', attrs: { push: 'true' } }],
      sign: {
        identityToken: async () => sigstore.token('https://ci.example/sdk'),
        ...{ fulcioUrl: sigstore.url, rekorUrl: sigstore.url },
      },
    });
    const roots = readTrustedRoot(sigstore.trustedRoot, 'the test’s');
    const who = identitySigner(
      exactly('https://ci.example/sdk'),
      exactly('https://issuer.example'),
      roots,
      false,
    );
    expect(await verified(ref, who)).toMatchObject([
      { by: { kind: 'identity' }, loggedAt: expect.any(Date) },
    ]);

    const tar = execFileSync('tar', ['-C', dir, '-c', 'Dockerfile', 'f']);
    const attrs = {
      push: 'true',
      name: `${registry.host}/post:1`,
      'sign-key': 'k',
      'sign-tlog-upload': 'false',
    };
    const outputs = JSON.stringify([{ Type: 'image', Attrs: attrs }]);
    const path = `/build?version=2&outputs=${encodeURIComponent(outputs)}`;
    const { text } = await daemon.ask('POST', path, { body: tar });
    expect(text).toContain('the build has no secret \\"k\\" to sign its image with');
  });

  test('no step can read what the image is signed with', async () => {
    const base = mkdtempSync(join(cli.dir, 'base-'));
    mkdirSync(join(base, 'root'));
    busyboxRoot(join(base, 'root'));
    const mount = 'RUN --mount=type=secret,id=cosign,required=false';
    const steps = `${mount} cat /run/secrets/cosign >/stolen 2>/dev/null; test ! -s /stolen`;
    writeFileSync(join(base, 'Dockerfile'), `FROM scratch\nCOPY root /\n${steps}\n`);
    const ref = `${registry.host}/secret:1`;
    const output = `type=registry,name=${ref},sign-key=cosign,sign-tlog-upload=false`;
    const args = ['build', '--secret', `id=cosign,src=${join(dir, 'sign.key')}`, '-o', output, base];
    await cli.ok(args, { env: env(true) });
    await verified(ref);
  });

  test('what cannot be signed is refused before the build', async () => {
    const refused = async (...args: string[]) => {
      const { code, stderr } = await cli.run(['build', ...args, dir], { env: env(true) });
      expect(code).toBe(1);
      return stderr;
    };
    const key = `key=${join(dir, 'sign.key')}`;
    expect(await refused('--sign', `${key},tlog-upload=false`)).toContain('no output is pushed');
    expect(await refused('--push', '--sign', key)).toContain(
      'would write to the public log at rekor.sigstore.dev',
    );
    expect(await refused('--push', '--sign', `${key},tlog=false`)).toContain('--sign has no "tlog"');
    expect(await refused('--push', '--sign', 'tlog-upload=false')).toContain('--sign needs key=FILE');
    expect(await refused('-o', 'type=image,sign-key=k')).toContain(
      'an image that is not pushed cannot be signed',
    );
    expect(await refused('-o', 'type=oci,dest=/dev/null,sign-key=k')).toContain(
      'output type=oci has no attribute "sign-key"',
    );
  });
});
