/**
 * Asks the services of sigstore: Fulcio for a certificate, Rekor for an entry in the transparency log, and a timestamp
 * authority (RFC 3161) for the time. Their answers are bounded, and what they say is checked by whoever verifies.
 * https://github.com/sigstore/fulcio/blob/main/fulcio.proto https://github.com/sigstore/rekor/blob/main/openapi.yaml
 * https://github.com/sigstore/rekor-tiles/blob/main/api/proto/rekor/v2/rekor_service.proto
 */
import { createHash } from 'node:crypto';
import type { SerializedEnvelope } from '@sigstore/bundle';
import { canceled, DrydockError, fail } from '../errors/index.ts';
import { HttpPool, readBody } from '../registry/index.ts';

/** The largest answer, in bytes. */
const maxAnswer = 1 << 20;
const idleMs = 30_000;

/** An entry of a transparency log, in the JSON form of sigstore's `TransparencyLogEntry`. */
export type LogEntry = Record<string, unknown>;

/** A client of sigstore's services. */
export class Services {
  readonly #pool = new HttpPool();
  readonly #signal: AbortSignal | undefined;

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  close(): void {
    this.#pool.close();
  }

  /**
   * Has Fulcio certify a public key for the identity of a token. `proof` is the key's signature of the token's subject.
   * Returns the certificate as DER.
   */
  async certificate(url: string, token: string, publicPem: string, proof: Buffer): Promise<Buffer> {
    const body = {
      credentials: { oidcIdentityToken: token },
      publicKeyRequest: {
        publicKey: { algorithm: 'ECDSA', content: publicPem },
        proofOfPossession: proof.toString('base64'),
      },
    };
    const answer = await this.#json('Fulcio', url, '/api/v2/signingCert', body);
    const either = (answer.signedCertificateEmbeddedSct ?? answer.signedCertificateDetachedSct) as
      | { chain?: { certificates?: unknown[] } }
      | undefined;
    const pem = either?.chain?.certificates?.[0];
    const base64 = /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/.exec(String(pem))?.[1];
    if (base64 === undefined) throw odd('Fulcio', url, 'there is no certificate in its answer');
    return Buffer.from(base64, 'base64');
  }

  /** Has Rekor (version 1) note an envelope. `verifier` is the public key or the certificate, as PEM. */
  async noted(url: string, envelope: SerializedEnvelope, verifier: string): Promise<LogEntry> {
    const verifiers = [Buffer.from(verifier).toString('base64')];
    const proposedContent = { envelope: JSON.stringify(envelope), verifiers };
    const body = { apiVersion: '0.0.1', kind: 'dsse', spec: { proposedContent } };
    const answer = await this.#json('Rekor', url, '/api/v1/log/entries', body, true);
    return entryOf(answer, url);
  }

  /**
   * Has Rekor (version 2) note a signature of bytes: it takes no envelopes, but hashes. `verifier` is a certificate, or a
   * public key, as DER.
   */
  async notedTiles(
    url: string,
    { signed, signature }: { signed: Buffer; signature: Buffer },
    verifier: { x509Certificate?: Buffer; publicKey?: Buffer; keyDetails: string },
  ): Promise<LogEntry> {
    const { x509Certificate, publicKey, keyDetails } = verifier;
    const rawBytes = (x509Certificate ?? publicKey)?.toString('base64');
    const named =
      x509Certificate === undefined ? { publicKey: { rawBytes } } : { x509Certificate: { rawBytes } };
    const body = {
      hashedRekordRequestV002: {
        digest: createHash('sha256').update(signed).digest('base64'),
        signature: { content: signature.toString('base64'), verifier: { ...named, keyDetails } },
      },
    };
    return this.#json('Rekor', url, '/api/v2/log/entries', body);
  }

  /** Has a timestamp authority date a signature. Returns the answer as DER. */
  async timestamp(url: string, signature: Buffer): Promise<Buffer> {
    const at = new URL(url).pathname === '/' ? '/api/v1/timestamp' : '';
    const headers = { 'content-type': 'application/timestamp-query', accept: 'application/timestamp-reply' };
    return this.#ask('the timestamp authority', 'POST', place(url, at), {
      headers,
      body: timestampQuery(signature),
    });
  }

  /** GitHub's (or another's) answer to a request for an identity token. */
  async ambientToken(url: string, bearer: string): Promise<string> {
    const headers = { authorization: `Bearer ${bearer}`, accept: 'application/json' };
    const bytes = await this.#ask('the token service', 'GET', new URL(url), { headers, secret: true });
    const { value } = parse('the token service', url, bytes);
    if (typeof value !== 'string')
      throw odd('the token service', new URL(url).origin, 'there is no token in its answer');
    return value;
  }

  async #json(
    who: string,
    base: string,
    path: string,
    body: unknown,
    orThere = false,
  ): Promise<Record<string, unknown>> {
    const headers = { 'content-type': 'application/json', accept: 'application/json' };
    const there = orThere
      ? (to: URL) => this.#ask(who, 'GET', to, { headers: { accept: headers.accept } })
      : undefined;
    const bytes = await this.#ask(who, 'POST', place(base, path), {
      headers,
      body: Buffer.from(JSON.stringify(body)),
      there,
    });
    return parse(who, base, bytes);
  }

  async #ask(
    who: string,
    method: string,
    url: URL,
    {
      headers,
      body,
      there,
      secret = true,
    }: {
      headers: Record<string, string>;
      body?: Buffer;
      /** Gets an entry that is there already, instead of an error. */
      there?: (at: URL) => Promise<Buffer>;
      secret?: boolean;
    },
  ): Promise<Buffer> {
    const signal = this.#signal;
    let status: number;
    let bytes: Buffer;
    let location: string | undefined;
    try {
      const response = await this.#pool.send({
        ...{ method, url, headers, signal, insecure: false, idleMs, secret },
        body: body && (() => body),
      });
      status = response.statusCode ?? 0;
      location = response.headers.location;
      bytes = await readBody(response, maxAnswer);
    } catch (cause) {
      if (signal?.aborted) throw canceled(signal.reason);
      if (cause instanceof DrydockError) throw cause;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw fail('unavailable', 'http', `${who} at ${url.origin} does not answer: ${why}`, {
        cause,
        hint: 'Check the URL, and that this machine reaches it (HTTPS_PROXY counts).',
      });
    }
    if (status === 409 && there !== undefined && location !== undefined) {
      const at = new URL(location, url);
      if (at.origin === url.origin) return there(at);
    }
    if (status >= 200 && status < 300) return bytes;
    const said = bytes.toString('utf8').slice(0, 500).trim();
    const code = status === 401 || status === 403 ? 'denied' : status >= 500 ? 'unavailable' : 'invalid';
    throw fail(code, 'http', `${who} at ${url.origin} answers ${status}: ${said}`);
  }
}

function place(base: string, path: string): URL {
  return new URL(`${base.replace(/\/+$/, '')}${path}`);
}

function parse(who: string, url: string, bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // The error is thrown below.
  }
  throw odd(who, url, 'its answer is no JSON object');
}

function odd(who: string, url: string, why: string) {
  return fail('corrupt', 'http', `${who} at ${url}: ${why}`);
}

/** Rekor's answer of version 1 in the form that bundles have. */
function entryOf(answer: Record<string, unknown>, url: string): LogEntry {
  const entry = Object.values(answer)[0] as
    | {
        body: string;
        logID: string;
        logIndex: number;
        integratedTime: number;
        verification?: {
          signedEntryTimestamp?: string;
          inclusionProof?: {
            logIndex: number;
            treeSize: number;
            rootHash: string;
            hashes: string[];
            checkpoint: string;
          };
        };
      }
    | undefined;
  try {
    if (entry === undefined) throw new Error('there is no entry in it');
    const { kind, apiVersion } = JSON.parse(Buffer.from(entry.body, 'base64').toString('utf8'));
    const { signedEntryTimestamp, inclusionProof: proof } = entry.verification ?? {};
    const base64 = (digits: string) => Buffer.from(digits, 'hex').toString('base64');
    return {
      logIndex: String(entry.logIndex),
      logId: { keyId: base64(entry.logID) },
      kindVersion: { kind, version: apiVersion },
      integratedTime: String(entry.integratedTime),
      ...(signedEntryTimestamp !== undefined && { inclusionPromise: { signedEntryTimestamp } }),
      ...(proof !== undefined && {
        inclusionProof: {
          logIndex: String(proof.logIndex),
          rootHash: base64(proof.rootHash),
          treeSize: String(proof.treeSize),
          hashes: proof.hashes.map(base64),
          checkpoint: { envelope: proof.checkpoint },
        },
      }),
      canonicalizedBody: entry.body,
    };
  } catch (cause) {
    throw fail('corrupt', 'http', `Rekor at ${url}: its answer is no entry of a log`, { cause });
  }
}

/**
 * A TimeStampReq for the SHA-256 of a signature, which asks for the authority's certificate. All its lengths are known:
 * version 1, the hash, and certReq. https://datatracker.ietf.org/doc/html/rfc3161#section-2.4.1
 */
function timestampQuery(signature: Buffer): Buffer {
  const sha256 = createHash('sha256').update(signature).digest();
  const version = Buffer.from('020101', 'hex');
  // MessageImprint: the algorithm 2.16.840.1.101.3.4.2.1 with NULL parameters, and 32 bytes.
  const imprint = Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), sha256]);
  const certReq = Buffer.from('0101ff', 'hex');
  const body = Buffer.concat([version, imprint, certReq]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}
