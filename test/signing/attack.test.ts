/** Signatures that are forged, moved, spoilt, or far too many: each is refused, with the reason, and in bounds. */
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { type Descriptor, type Digest, mediaTypes } from '../../src/oci/types.ts';
import { RegistryClient } from '../../src/registry/client.ts';
import { parseIdentityToken } from '../../src/signing/identity-token.ts';
import { readPrivateKey, readPublicKeys } from '../../src/signing/keys.ts';
import { makeBundle, type SignerChoice } from '../../src/signing/make-bundle.ts';
import { Services } from '../../src/signing/services.ts';
import { signImage } from '../../src/signing/sign-image.ts';
import { exactly, identitySigner, keySigner } from '../../src/signing/signers.ts';
import { readTrustedRoot } from '../../src/signing/trusted-root.ts';
import { verifyImage, type WantedSigner } from '../../src/signing/verify-image.ts';
import { putDocument, putImage } from '../kit/cosign.ts';
import { startServer } from '../kit/http-server.ts';
import { startRegistry, type TestRegistry } from '../kit/registry.ts';
import { type Sigstore, startSigstore } from '../kit/sigstore.ts';

const client = new RegistryClient({ userAgent: 'test', retries: 0 });
const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const nowhere = { fulcioUrl: 'http://127.0.0.1:9', rekorVersion: 1 as const };
let registry: TestRegistry;
let sigstore: Sigstore;

async function newKey(): Promise<{ signer: SignerChoice; wanted: WantedSigner }> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const text = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const key = await readPrivateKey(text, 'test', async () => Buffer.alloc(0));
  const keys = readPublicKeys(publicKey.export({ type: 'spki', format: 'pem' }).toString(), 'test');
  return { signer: { key }, wanted: keySigner('the key test.pub', keys, undefined) };
}

let alice: Awaited<ReturnType<typeof newKey>>;
let bob: Awaited<ReturnType<typeof newKey>>;
beforeAll(async () => {
  registry = await startRegistry();
  sigstore = await startSigstore();
  [alice, bob] = [await newKey(), await newKey()];
});
afterAll(async () => {
  await sigstore.stop();
  await registry.stop();
});

const bundleOf = async (digest: Digest, { signer }: { signer: SignerChoice }) =>
  JSON.parse((await makeBundle(digest, {}, signer, nowhere, new Services())).toString());

/** Attaches a bundle to an image, whatever is in it. */
async function attach(
  ref: string,
  subject: Descriptor,
  bundle: unknown,
  artifactType = bundleType,
): Promise<void> {
  const blob = async (text: string) => {
    const bytes = Buffer.from(text);
    const descriptor = { digest: digestOf(bytes), size: bytes.length };
    await client.pushBlob(ref, descriptor, async () => bytes);
    return descriptor;
  };
  const config = { mediaType: 'application/vnd.oci.empty.v1+json', ...(await blob('{}')) };
  const text = typeof bundle === 'string' ? bundle : JSON.stringify(bundle);
  const layers = [{ mediaType: bundleType, ...(await blob(text)) }];
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    artifactType,
    config,
    layers,
    subject,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const descriptor = { mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: bytes.length };
  await client.attach(`${ref}@${subject.digest}`, { ...descriptor, artifactType }, bytes);
}

const verify = (ref: string, digest: Digest, wanted = alice.wanted) =>
  verifyImage(client, ref, digest, { signers: [wanted] }, {});

test('the signature of another image is none of this one, though it is attached to it', async () => {
  const ref = `${registry.host}/moved`;
  const [signed, other] = [await putImage(client, `${ref}:a`, 'a'), await putImage(client, `${ref}:b`, 'b')];
  await attach(ref, other, await bundleOf(signed.digest, alice));
  await expect(verify(ref, other.digest)).rejects.toMatchObject({
    code: 'denied',
    hop: 'registry',
    message: expect.stringMatching(
      `its signature is not the wanted one: .*it is of another image \\(${signed.digest}\\); wanted: the key test.pub`,
    ),
  });
});

test('a changed payload, another’s key, a statement that is no signature: each is told', async () => {
  const ref = `${registry.host}/spoilt`;
  const flawOf = async (name: string, change: (bundle: Record<string, unknown>) => unknown) => {
    const image = await putImage(client, `${ref}:${name}`, name);
    await attach(ref, image, change(await bundleOf(image.digest, alice)));
    return (await verify(ref, image.digest).catch((err: Error) => err)) as Error;
  };
  const payload = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64');
  const statement = (digest: string, predicateType = 'https://sigstore.dev/cosign/sign/v1') => ({
    ...{ _type: 'https://in-toto.io/Statement/v1', predicateType, predicate: {} },
    subject: [{ digest: { sha256: digest } }],
  });
  const changed = await flawOf('payload', ({ dsseEnvelope, ...rest }) => ({
    ...rest,
    dsseEnvelope: { ...(dsseEnvelope as object), payload: payload(statement('0'.repeat(64))) },
  }));
  expect(changed.message).toContain('it is by none of the keys');
  const provenance = await flawOf('slsa', ({ dsseEnvelope, ...rest }) => ({
    ...rest,
    dsseEnvelope: {
      ...(dsseEnvelope as object),
      payload: payload(statement('0', 'https://slsa.dev/provenance/v1')),
    },
  }));
  expect(provenance.message).toContain(
    'it states "https://slsa.dev/provenance/v1" of the image, and does not sign it',
  );
  const type = await flawOf('type', ({ dsseEnvelope, ...rest }) => ({
    ...rest,
    dsseEnvelope: { ...(dsseEnvelope as object), payloadType: 'text/plain' },
  }));
  expect(type.message).toContain('it signs no statement');
  for (const rubbish of ['rubbish', '{}', '[]', 'null', `${'['.repeat(100_000)}`, '{"mediaType":1}']) {
    expect((await flawOf(`r${rubbish.length}${rubbish.length % 7}`, () => rubbish)).message).toMatch(
      /not the wanted one|cannot be read/,
    );
  }
  const image = await putImage(client, `${ref}:bob`, 'bob');
  await signImage(client, `${ref}:bob`, { signer: bob.signer, services: nowhere });
  await expect(verify(ref, image.digest)).rejects.toMatchObject({
    message: expect.stringContaining('by none of the keys'),
  });
  // Among others' and broken ones, one that holds is enough.
  await attach(ref, image, 'rubbish');
  await signImage(client, `${ref}:bob`, { signer: alice.signer, services: nowhere });
  expect(await verify(ref, image.digest)).toHaveLength(1);
});

test('a certificate that had expired, and one of another authority, vouch for nobody', async () => {
  const ref = `${registry.host}/certified`;
  const image = await putImage(client, `${ref}:1`, 'certified');
  const services = { fulcioUrl: sigstore.url, rekorUrl: sigstore.url, rekorVersion: 1 as const };
  const sign = () =>
    signImage(client, `${ref}:1`, {
      signer: { token: parseIdentityToken(sigstore.token('https://ci.example')) },
      services,
    });
  const who = (root: string) =>
    identitySigner(
      exactly('https://ci.example'),
      exactly('https://issuer.example'),
      readTrustedRoot(root, 'root'),
      false,
    );
  sigstore.ahead = 3600;
  await sign();
  sigstore.ahead = 0;
  await expect(verify(ref, image.digest, who(sigstore.trustedRoot))).rejects.toMatchObject({
    message: expect.stringContaining(
      'its certificate does not hold: certificate is not valid or expired at the specified date',
    ),
  });
  await sign();
  expect(await verify(ref, image.digest, who(sigstore.trustedRoot))).toHaveLength(1);
  const other = await startSigstore();
  await other.stop();
  await expect(verify(ref, image.digest, who(other.trustedRoot))).rejects.toMatchObject({
    message: expect.stringMatching(/none of its 2 signatures .* its certificate does not hold/),
  });
  // The log's promise is for this entry alone: without it, or of another log, nothing says when it was signed.
  const noLog = JSON.stringify({ ...JSON.parse(sigstore.trustedRoot), tlogs: [] });
  await expect(verify(ref, image.digest, who(noLog))).rejects.toMatchObject({
    message: expect.stringContaining('its entry in the transparency log does not hold'),
  });
});

test('ten thousand referrers, endless pages and huge bundles cost a bounded amount', async () => {
  const image = { digest: digestOf('image'), size: 1 };
  const entry = (i: number) => ({
    mediaType: mediaTypes.ociManifest,
    digest: digestOf(`${i}`),
    size: 100,
    artifactType: bundleType,
  });
  let asked = 0;
  const hostile = await startServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://x');
    if (!pathname.includes('/referrers/')) {
      if (pathname.includes('/manifests/')) asked++;
      return response.writeHead(404).end();
    }
    const page = Number(searchParams.get('page') ?? 0);
    response.setHeader('link', `<${pathname}?page=${page + 1}>; rel="next"`);
    const manifests = Array.from({ length: 2000 }, (_, i) => entry(page * 2000 + i));
    return response.end(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
  });
  const ref = `${hostile.host}/many`;
  await expect(verify(ref, image.digest)).rejects.toMatchObject({
    code: 'denied',
    message: expect.stringMatching(
      /none of its 200 signatures is a wanted one \(9800 beyond the first 200 were not looked at\)/,
    ),
  });
  expect(asked).toBeLessThanOrEqual(201);
  expect(hostile.asked.filter((line) => line.includes('/referrers/')).length).toBeLessThanOrEqual(6);
  await hostile.stop();

  const huge = `${registry.host}/huge`;
  const big = await putImage(client, `${huge}:1`, 'huge');
  await attach(huge, big, `"${'x'.repeat(2 << 20)}"`);
  await expect(verify(huge, big.digest)).rejects.toMatchObject({
    message: expect.stringContaining('more than 1 MiB'),
  });
});

test('two who sign at the same moment are both in the list under the tag', async () => {
  const ref = `${registry.host}/race`;
  const image = await putImage(client, `${ref}:1`, 'race');
  const signers = [alice, bob, await newKey(), await newKey()];
  await Promise.all(
    signers.map(({ signer }) => signImage(client, `${ref}:1`, { signer, services: nowhere })),
  );
  for (const { wanted } of signers) await verify(ref, image.digest, wanted);
  // An index that lists what is no image at all is signed as it is.
  await putDocument(client, `${ref}:2`, { mediaType: mediaTypes.ociIndex, manifests: [] });
  await signImage(client, `${ref}:2`, { signer: alice.signer, services: nowhere, recursive: true });
});
