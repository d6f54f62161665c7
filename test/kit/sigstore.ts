/**
 * The services of sigstore on a free port of localhost, with keys of their own: Fulcio with a certificate log, Rekor of
 * both versions, and a timestamp authority; and the trusted root that vouches for them. The certificates, the
 * certificate log and the timestamps are made by sigstore's own mock.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomInt, sign } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { json } from '@sigstore/core';
import { fulcioHandler, initializeCA, initializeCTLog, initializeTSA } from '@sigstore/mock';

export interface Sigstore {
  /** Serves Fulcio, Rekor and the timestamp authority. */
  readonly url: string;
  /** The text of a `trusted_root.json`. */
  readonly trustedRoot: string;
  /** The requests so far: `POST /api/v1/log/entries`. */
  readonly requests: string[];
  /** A token of an identity, which Fulcio takes for an hour. */
  token(subject: string, issuer?: string): string;
  /** Seconds by which Rekor's clock goes before. */
  ahead: number;
  stop(): Promise<void>;
}

const pair = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const derOf = (key: KeyObject) => key.export({ type: 'spki', format: 'der' });
const bytesOf = ({ buffer: bytes, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>) =>
  Buffer.from(bytes, byteOffset, byteLength);
const since = { start: '2020-01-01T00:00:00Z' };
const sha256 = (...data: (Uint8Array | string)[]) => {
  const hash = createHash('sha256');
  for (const each of data) hash.update(each);
  return hash.digest();
};

/** Starts the services. Call `stop` in `afterAll`. */
export async function startSigstore(): Promise<Sigstore> {
  const keys = { ca: pair('P-384'), ct: pair('P-256'), log: pair('P-256'), tsa: pair('P-384') };
  const ctlog = await initializeCTLog(keys.ct);
  const ca = await initializeCA(keys.ca, ctlog);
  const tsa = await initializeTSA(keys.tsa);
  const fulcio = fulcioHandler(ca);
  const requests: string[] = [];
  const state = { ahead: 0 };
  const answer = async (
    path: string,
    body: Buffer,
    authorization = '',
  ): Promise<{ status: number; body: string | Buffer; etag?: string }> => {
    if (path === fulcio.path) {
      // The token comes in the body or, from cosign, in a header.
      const credentials = { oidcIdentityToken: authorization.replace('Bearer ', '') };
      const asked = JSON.stringify({ credentials, ...JSON.parse(body.toString()) });
      const { statusCode, response } = await fulcio.fn(asked);
      // cosign takes nothing but 200.
      return { status: statusCode === 201 ? 200 : statusCode, body: response as string };
    }
    const now = Math.floor(Date.now() / 1000) + state.ahead;
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    if (path === '/api/v1/log/entries') {
      const entry = noteV1(JSON.parse(body.toString()), { keys: keys.log, host, now });
      const uuid = sha256(body).toString('hex');
      return { status: 201, body: JSON.stringify({ [uuid]: entry }), etag: uuid };
    }
    if (path === '/api/v2/log/entries') {
      return {
        status: 201,
        body: JSON.stringify(noteV2(JSON.parse(body.toString()), { keys: keys.log, host, now })),
      };
    }
    if (path === '/api/v1/timestamp') {
      // A TimeStampReq with a SHA-256 has it in its last bytes, before certReq or a nonce.
      const at = body.indexOf(Buffer.from('0420', 'hex')) + 2;
      const request = {
        artifactHash: body.subarray(at, at + 32),
        hashAlgorithmOID: '2.16.840.1.101.3.4.2.1',
      };
      const asked = { ...request, policyOID: '1.3.6.1.4.1.57264.2', nonce: 1, certReq: true };
      // Real authorities date by the second. This one's milliseconds are read where they have three digits.
      for (;;) {
        const stamp = bytesOf(await tsa.timestamp(asked));
        if (/\d{14}\.\d{3}Z/.test(stamp.toString('latin1'))) return { status: 201, body: stamp };
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    return { status: 404, body: 'no such service' };
  };
  const server = createServer(async (request, response) => {
    requests.push(`${request.method} ${request.url}`);
    try {
      const { status, body, etag } = await answer(
        request.url ?? '',
        await buffer(request),
        request.headers.authorization,
      );
      const headers = { 'content-type': 'application/json', ...(etag !== undefined && { etag }) };
      response.writeHead(status, headers).end(body);
    } catch (err) {
      response.writeHead(400).end(String(err));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const log = (key: KeyObject, id: Buffer) => ({
    baseUrl: url,
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: derOf(key).toString('base64'),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor: since,
    },
    logId: { keyId: id.toString('base64') },
  });
  const authority = (name: string, ...certificates: Buffer[]) => ({
    subject: { organization: 'sigstore.mock', commonName: name },
    uri: url,
    certChain: { certificates: certificates.map((each) => ({ rawBytes: each.toString('base64') })) },
    validFor: since,
  });
  return {
    url,
    requests,
    get ahead() {
      return state.ahead;
    },
    set ahead(seconds) {
      state.ahead = seconds;
    },
    trustedRoot: JSON.stringify({
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [log(keys.log.publicKey, sha256(derOf(keys.log.publicKey)))],
      ctlogs: [log(keys.ct.publicKey, sha256(derOf(keys.ct.publicKey)))],
      certificateAuthorities: [authority('sigstore', bytesOf(ca.rootCertificate))],
      timestampAuthorities: [authority('tsa', bytesOf(tsa.intCertificate), bytesOf(tsa.rootCertificate))],
    }),
    token: (sub, iss = 'https://issuer.example') => {
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const exp = Math.floor(Date.now() / 1000) + 3600;
      const signature = Buffer.alloc(64, 1).toString('base64url');
      return `${part({ alg: 'ES256' })}.${part({ sub, iss, aud: 'sigstore', exp })}.${signature}`;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface LogAt {
  keys: { publicKey: KeyObject; privateKey: KeyObject };
  host: string;
  /** Seconds since 1970. */
  now: number;
}

type Envelope = { payload: string; payloadType: string; signatures: { sig: string }[] };

/** Notes an entry as Rekor does: in its canonical form, with a promise and a proof. */
function noteV1(
  proposed: {
    kind: string;
    apiVersion: string;
    spec: { proposedContent?: { envelope: string; verifiers: string[] } };
  },
  { keys, host, now }: LogAt,
): object {
  const { kind, apiVersion, spec } = proposed;
  const content = spec.proposedContent;
  let noted: object = proposed;
  if (content !== undefined) {
    const envelope = JSON.parse(content.envelope) as Envelope;
    const hash = (value: Buffer) => ({ algorithm: 'sha256', value: value.toString('hex') });
    noted = {
      ...{ kind, apiVersion },
      spec: {
        envelopeHash: hash(sha256(content.envelope)),
        payloadHash: hash(sha256(Buffer.from(envelope.payload, 'base64'))),
        signatures: envelope.signatures.map(({ sig }, i) => ({
          signature: sig,
          verifier: content.verifiers[i],
        })),
      },
    };
  }
  const body = Buffer.from(json.canonicalize(noted));
  const logID = sha256(derOf(keys.publicKey)).toString('hex');
  const logIndex = randomInt(1_000_000);
  const promised = { body: body.toString('base64'), integratedTime: now, logIndex, logID };
  const promise = sign('sha256', Buffer.from(json.canonicalize(promised)), keys.privateKey);
  const proof = proofOf(body, { keys, host, now });
  return {
    ...promised,
    verification: {
      signedEntryTimestamp: promise.toString('base64'),
      inclusionProof: {
        logIndex: 0,
        treeSize: 1,
        hashes: [],
        ...proof,
        rootHash: proof.rootHash.toString('hex'),
      },
    },
  };
}

/** Notes an entry as Rekor 2 does: with a proof, and without a time. */
function noteV2(
  {
    hashedRekordRequestV002: { digest, signature },
  }: { hashedRekordRequestV002: { digest: string; signature: { content: string; verifier: object } } },
  at: LogAt,
): object {
  const data = { algorithm: 'SHA2_256', digest };
  const noted = {
    kind: 'hashedrekord',
    apiVersion: '0.0.2',
    spec: { hashedRekordV002: { data, signature } },
  };
  const body = Buffer.from(json.canonicalize(noted));
  const { rootHash, checkpoint } = proofOf(body, at);
  return {
    logIndex: '0',
    logId: { keyId: sha256(derOf(at.keys.publicKey)).toString('base64') },
    kindVersion: { kind: 'hashedrekord', version: '0.0.2' },
    integratedTime: '0',
    inclusionProof: {
      ...{ logIndex: '0', treeSize: '1', hashes: [], rootHash: rootHash.toString('base64') },
      checkpoint: { envelope: checkpoint },
    },
    canonicalizedBody: body.toString('base64'),
  };
}

/** The proof that an entry is in a log that has nothing else. */
function proofOf(body: Buffer, { keys, host }: LogAt): { rootHash: Buffer; checkpoint: string } {
  const rootHash = sha256(Buffer.of(0), body);
  const note = `${host} - 1\n1\n${rootHash.toString('base64')}\n`;
  const hint = sha256(derOf(keys.publicKey)).subarray(0, 4);
  const signature = Buffer.concat([hint, sign('sha256', Buffer.from(note), keys.privateKey)]);
  return { rootHash, checkpoint: `${note}\n— ${host} ${signature.toString('base64')}\n` };
}
