/** `drydock sign` and `drydock verify`, beside the real cosign, in a real registry without the referrers API. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Descriptor } from '../../src/oci/types.ts';
import { mediaTypes } from '../../src/oci/types.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { Cli } from '../kit/cli.ts';
import { cosign, cosignKeys, putDocument, putImage } from '../kit/cosign.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { type Sigstore, startSigstore } from '../kit/sigstore.ts';

const client = new RegistryClient({ userAgent: 'test' });
const offline = ['--insecure-ignore-tlog'];
let dir: string;
let cli: Cli;
let registry: TestRegistry;
let sigstore: Sigstore;
/** `127.0.0.1:41234/` */
let at: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'drydock-sign-'));
  cli = new Cli();
  registry = await startRegistry();
  sigstore = await startSigstore();
  at = `${registry.host}/`;
  await cosignKeys(dir);
  writeFileSync(join(dir, 'root.json'), sigstore.trustedRoot);
});
afterAll(async () => {
  await sigstore.stop();
  await registry.stop();
  await cli.close();
  rmSync(dir, { recursive: true, force: true });
});

const drydock = (...args: string[]) => cli.run(args, { cwd: dir, env: { COSIGN_PASSWORD: 'pw' } });
const ok = async (...args: string[]) => {
  const result = await drydock(...args);
  expect(result, args.join(' ')).toMatchObject({ code: 0 });
  return result.stdout;
};
const refused = async (...args: string[]) => {
  const { code, stderr } = await drydock(...args);
  expect(code, args.join(' ')).not.toBe(0);
  return stderr;
};
const cosigned = async (version: 'trixie' | 'sid', ...args: string[]) => {
  const { code, said } = await cosign(version, dir, ...args);
  expect(code, said).toBe(0);
  return said;
};
const withKey = ['--key', 'cosign.key', '--tlog-upload=false'];

test('a signature by a key is one that cosign verifies', async () => {
  const { digest } = await putImage(client, `${at}ours:1`, 'ours');
  expect(await ok('sign', ...withKey, '-a', 'team=base', `${at}ours:1`)).toMatch(
    new RegExp(`^${at}ours:1: signed ${digest}, signature sha256:[0-9a-f]{64}\\n$`),
  );
  const verify = ['verify', '--key', 'cosign.pub', ...offline];
  const said = await cosigned('sid', ...verify, '-a', 'team=base', `${at}ours:1`);
  expect(said).toContain('"team":"base"');
  expect((await cosign('sid', dir, ...verify, '-a', 'team=other', `${at}ours:1`)).code).not.toBe(0);

  const [found] = JSON.parse(await ok(...verify, '-a', 'team=base', `${at}ours:1`));
  expect(found).toEqual({
    critical: {
      identity: { 'docker-reference': `${at}ours@${digest}` },
      image: { 'docker-manifest-digest': digest },
      type: 'https://sigstore.dev/cosign/sign/v1',
    },
    optional: { team: 'base' },
  });
  expect(await refused(...verify, '-a', 'team=other', `${at}ours:1`)).toContain(
    'its annotation team is "base"',
  );
});

test('what cosign signs is verified: bundles, and the .sig tags of before', async () => {
  const { digest } = await putImage(client, `${at}theirs:1`, 'theirs');
  const pinned = `${at}theirs@${digest}`;
  const verify = ['verify', '--key', 'cosign.pub', ...offline, '-o', 'text', pinned];
  expect(await refused(...verify)).toContain(
    `${pinned} (${digest}) is not signed; wanted: the key cosign.pub`,
  );
  await cosigned('trixie', 'sign', ...withKey, '-a', 'by=old', pinned);
  expect(await ok(...verify)).toMatch(/^sha256:[0-9a-f]{64} the key cosign\.pub by=old\n$/);
  await cosigned(
    'sid',
    'sign',
    '--key',
    'cosign.key',
    '--signing-config',
    'nowhere.json',
    '-a',
    'by=new',
    pinned,
  );
  expect((await ok(...verify)).split('\n').map((line) => line.slice(72))).toEqual([
    'the key cosign.pub by=new',
    'the key cosign.pub by=old',
    '',
  ]);
});

test.each([
  ['ECDSA P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' })],
  ['Ed25519', () => generateKeyPairSync('ed25519')],
  ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
])('a PKCS#8 key of %s signs as well, also in a variable', async (kind, make) => {
  const { privateKey, publicKey } = make();
  const name = kind.toLowerCase().replace(/\W/g, '');
  writeFileSync(join(dir, `${name}.pub`), publicKey.export({ type: 'spki', format: 'pem' }));
  const secret = { cipher: 'aes-256-cbc', passphrase: 'pw' };
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem', ...secret }).toString();
  await putImage(client, `${at}kinds:${name}`, kind);
  const signed = await cli.run(['sign', '--key', 'env://KEY', '--tlog-upload=false', `${at}kinds:${name}`], {
    env: { KEY: pem, COSIGN_PASSWORD: 'pw' },
  });
  expect(signed).toMatchObject({ code: 0 });
  await ok('verify', '--key', `${name}.pub`, ...offline, `${at}kinds:${name}`);
  await cosigned('sid', 'verify', '--key', `${name}.pub`, ...offline, `${at}kinds:${name}`);
});

test('an index is signed as a whole, and its images if that is wished', async () => {
  const image = await putImage(client, `${at}many:one`, 'one of many');
  const index = (manifests: Descriptor[]) =>
    putDocument(client, `${at}many:1`, { mediaType: mediaTypes.ociIndex, manifests });
  const platform = { os: 'linux', architecture: 'amd64' };
  const { digest } = await index([{ ...image, platform }]);
  const verify = ['verify', '--key', 'cosign.pub', ...offline];
  expect(await ok('sign', ...withKey, `${at}many:1`)).toContain(`signed ${digest}`);
  await cosigned('sid', ...verify, `${at}many:1`);
  expect(await refused(...verify, `${at}many@${image.digest}`)).toContain('is not signed');
  expect((await ok('sign', ...withKey, '--recursive', `${at}many:1`)).match(/signed sha256:\w+/g)).toEqual([
    `signed ${digest}`,
    `signed ${image.digest}`,
  ]);
  await cosigned('sid', ...verify, `${at}many@${image.digest}`);
  await ok(...verify, `${at}many@${image.digest}`);
});

const keyless = () => ['--fulcio-url', sigstore.url, '--rekor-url', sigstore.url];
const root = ['--trusted-root', 'root.json'];
const who = (identity: string, issuer = 'https://issuer.example') => [
  ...['--certificate-identity', identity, '--certificate-oidc-issuer', issuer],
];

test('a signature by an identity needs no key: Fulcio vouches for it, and Rekor says when', async () => {
  await putImage(client, `${at}keyless:1`, 'keyless');
  writeFileSync(join(dir, 'token'), sigstore.token('https://ci.example/build'));
  const before = sigstore.requests.length;
  await ok('sign', ...keyless(), '--identity-token', 'token', `${at}keyless:1`);
  expect(sigstore.requests.slice(before)).toEqual(['POST /api/v2/signingCert', 'POST /api/v1/log/entries']);
  const said = await ok('verify', ...root, ...who('https://ci.example/build'), `${at}keyless:1`);
  expect(JSON.parse(said)[0].optional).toMatchObject({
    Subject: 'https://ci.example/build',
    Issuer: 'https://issuer.example',
    LoggedAt: expect.stringMatching(/^20/),
  });
  expect(sigstore.requests).toHaveLength(before + 2);
  await cosigned('sid', 'verify', ...root, ...who('https://ci.example/build'), `${at}keyless:1`);

  const patterns = ['--certificate-identity-regexp', '/build$', '--certificate-oidc-issuer-regexp', 'issuer'];
  await ok('verify', ...root, ...patterns, `${at}keyless:1`);
  expect(await refused('verify', ...root, ...who('https://ci.example'), `${at}keyless:1`)).toContain(
    'by https://ci.example/build (of https://issuer.example): its signer is another one; wanted: https://ci.example (of https://issuer.example)',
  );
  expect(
    await refused(
      'verify',
      ...root,
      ...who('https://ci.example/build', 'https://evil.example'),
      `${at}keyless:1`,
    ),
  ).toContain('its signer is another one');
  expect(await refused('verify', '--key', 'cosign.pub', ...root, `${at}keyless:1`)).toContain(
    'it is by no key',
  );
});

test('cosign’s signature by an identity is verified', async () => {
  const { digest } = await putImage(client, `${at}keyless:2`, 'keyless by cosign');
  const service = {
    majorApiVersion: 1,
    validFor: { start: '2020-01-01T00:00:00Z' },
    operator: 'test',
    url: sigstore.url,
  };
  const config = {
    mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
    ...{ caUrls: [service], rekorTlogUrls: [service], rekorTlogConfig: { selector: 'ANY' }, tsaConfig: {} },
  };
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
  writeFileSync(join(dir, 'theirs'), sigstore.token('https://ci.example/theirs'));
  const token = 'theirs';
  const pinned = `${at}keyless@${digest}`;
  await cosigned(
    'sid',
    'sign',
    '--signing-config',
    'config.json',
    ...root,
    '--identity-token',
    token,
    pinned,
  );
  await ok('verify', ...root, ...who('https://ci.example/theirs'), pinned);
});

test('a key’s signature may be in the log too, and a timestamp authority may date what no log dates', async () => {
  await putImage(client, `${at}logged:1`, 'logged');
  await ok('sign', '--key', 'cosign.key', '--rekor-url', sigstore.url, `${at}logged:1`);
  await ok('verify', '--key', 'cosign.pub', ...root, `${at}logged:1`);
  await cosigned('sid', 'verify', '--key', 'cosign.pub', ...root, `${at}logged:1`);

  await putImage(client, `${at}dated:1`, 'dated');
  const token = ['--identity-token', sigstore.token('https://ci.example/dated')];
  const dated = [...keyless(), '--rekor-version', '2', '--timestamp-server-url', sigstore.url];
  expect(await refused('sign', ...dated.slice(0, -2), ...token, `${at}dated:1`)).toContain(
    'nothing would say when',
  );
  await ok('sign', ...dated, ...token, `${at}dated:1`);
  await ok('verify', ...root, ...who('https://ci.example/dated'), `${at}dated:1`);
  await ok('sign', '--key', 'cosign.key', ...dated.slice(2), `${at}dated:1`);
  await ok('verify', '--key', 'cosign.pub', ...root, `${at}dated:1`);
});

test('nothing is written to the public log unless somebody says so; flags that say nothing are refused', async () => {
  await putImage(client, `${at}careful:1`, 'careful');
  expect(await refused('sign', '--key', 'cosign.key', `${at}careful:1`)).toContain(
    'this would write to the public log at rekor.sigstore.dev',
  );
  expect(
    await refused('sign', '--rekor-url', sigstore.url, '--tlog-upload=false', ...withKey, `${at}x`),
  ).toContain('Leave out --rekor-url');
  expect(await refused('sign', ...keyless(), `${at}careful:1`)).toContain('there is nothing to sign with');
  expect(await refused('sign', '--key', 'awskms:///alias/x', '--tlog-upload=false', `${at}x`)).toContain(
    'keys of awskms:// are not supported',
  );
  expect(await refused('sign', '--key', 'cosign.pub', '--tlog-upload=false', `${at}x`)).toContain(
    'it is a public key',
  );
  const wrong = await cli.run(['sign', ...withKey, `${at}careful:1`], {
    cwd: dir,
    env: { COSIGN_PASSWORD: 'no' },
  });
  expect(wrong.stderr).toContain('its password is another one');
  expect(await refused('verify', `${at}careful:1`)).toContain('whose signature is wanted?');
  expect(await refused('verify', '--key', 'cosign.key', ...offline, `${at}x`)).toContain(
    'it is a private key',
  );
  expect(await refused('verify', '--key', 'cosign.pub', '--trusted-root', 'cosign.pub', `${at}x`)).toContain(
    'the trusted root cosign.pub cannot be read',
  );
  const token = sigstore.token('me');
  const { stderr } = await drydock(
    'sign',
    ...keyless(),
    '--identity-token',
    token.replace('.', '.x'),
    `${at}careful:1`,
  );
  expect(stderr).toContain('the identity token is not valid');
  expect(stderr).not.toContain(token.slice(20, 60));
  expect(readFileSync(join(dir, 'cosign.key'), 'utf8')).toContain('ENCRYPTED SIGSTORE PRIVATE KEY');
});
