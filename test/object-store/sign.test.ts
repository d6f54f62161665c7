/** Signatures, by the examples that AWS and Microsoft have published. */
import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sharedKey } from '../../src/object-store/azblob/shared-key.ts';
import { keyPath } from '../../src/object-store/keys.ts';
import { canonicalQuery, signV4 } from '../../src/object-store/s3/sign.ts';

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
const keys = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const day = Date.UTC(2013, 4, 24);
const bucket = 'https://examplebucket.s3.amazonaws.com';

test.each([
  [
    'GET Object',
    { url: `${bucket}/test.txt`, headers: { range: 'bytes=0-9' } },
    'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  ],
  [
    'GET Bucket Lifecycle',
    { url: `${bucket}/?lifecycle=`, headers: {} },
    'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
  ],
  [
    'GET Bucket (List Objects)',
    { url: `${bucket}/?max-keys=2&prefix=J`, headers: {} },
    '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
  ],
])('AWS: %s', (_, { url, headers }, signature) => {
  const signed = signV4({ method: 'GET', url: new URL(url), headers }, keys, 'us-east-1', day);
  expect(signed.authorization).toContain(`Signature=${signature}`);
  expect(signed['x-amz-date']).toBe('20130524T000000Z');
});

test('AWS: a session token is signed as well', () => {
  const request = { method: 'GET', url: new URL(`${bucket}/x`), headers: {} };
  const signed = signV4(request, { ...keys, sessionToken: 'token' }, 'us-east-1', day);
  expect(signed['x-amz-security-token']).toBe('token');
  expect(signed.authorization).toContain('x-amz-date;x-amz-security-token,');
});

/** The hash as AWS's own signer wants it. */
class Sha256 {
  readonly #hash;
  constructor(key?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = key === undefined ? createHash('sha256') : createHmac('sha256', key as string);
  }
  update(data: Uint8Array | string) {
    this.#hash.update(data);
  }
  async digest() {
    return this.#hash.digest();
  }
  reset() {}
}

test('AWS: any key, query and header is signed as AWS’s own signer does', async () => {
  const theirs = new SignatureV4({
    ...{ service: 's3', region: 'eu-west-1', credentials: { ...keys, sessionToken: 'a/token+' } },
    ...{ sha256: Sha256, uriEscapePath: false, applyChecksum: true },
  });
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
  const part = text.filter((each) => !each.includes('/') && each !== '.' && each !== '..');
  await fc.assert(
    fc.asyncProperty(part, fc.dictionary(name, text), fc.boolean(), async (key, params, isStream) => {
      const url = new URL(`${bucket}/blobs/${keyPath(key)}`);
      for (const [each, value] of Object.entries(params)) url.searchParams.set(each, value);
      url.search = canonicalQuery(url.searchParams);
      const headers = { range: 'bytes=0-9', 'x-amz-meta-x': 'a  b' };
      const bytes = isStream ? undefined : Buffer.from('body');
      const ours = signV4(
        { method: 'PUT', url, headers, bytes },
        { ...keys, sessionToken: 'a/token+' },
        'eu-west-1',
        day,
      );
      const signed = await theirs.sign(
        {
          method: 'PUT',
          protocol: 'https:',
          hostname: url.host,
          path: url.pathname,
          query: params,
          headers: {
            ...headers,
            host: url.host,
            ...(isStream ? { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } : {}),
          },
          body: bytes,
        },
        { signingDate: new Date(day) },
      );
      expect(ours.authorization).toBe(signed.headers.authorization);
    }),
  );
});

test('Azure: a signature is of the account, the headers and the query, in their order', () => {
  const request = {
    method: 'PUT',
    url: new URL('https://acc.blob.core.windows.net/caches/a%20b?comp=block&blockid=QUE%3D'),
    headers: {
      'x-ms-version': '2021-12-02',
      'x-ms-date': 'Mon, 30 Nov 2026 18:00:00 GMT',
      'content-length': '5',
    },
  };
  const key = Buffer.from('secret').toString('base64');
  const one = sharedKey(request, 'acc', key);
  expect(one).toMatch(/^SharedKey acc:[A-Za-z0-9+/]{43}=$/);
  const other = { ...request, headers: { ...request.headers, 'content-length': '6' } };
  expect(sharedKey(other, 'acc', key)).not.toBe(one);
});
