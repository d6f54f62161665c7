/**
 * The client's knowledge of registries (proto/session/auth.proto): names and passwords, or, from newer clients, tokens
 * that they get themselves. None of it is logged, and none of it is in an error's message.
 */
import { createPublicKey, randomBytes, timingSafeEqual, verify } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { fail } from '../../errors/index.ts';
import { ConnectionLost, decodeShort, GrpcError, UNAVAILABLE } from '../../grpc/index.ts';
import type { RegistryCredentials, TokenRequest, TokenSource } from '../../oci/index.ts';
import {
  CredentialsRequestSchema,
  CredentialsResponseSchema,
  FetchTokenRequestSchema,
  FetchTokenResponseSchema,
  GetTokenAuthorityRequestSchema,
  GetTokenAuthorityResponseSchema,
  VerifyTokenAuthorityRequestSchema,
  VerifyTokenAuthorityResponseSchema,
} from '../../pb/session/auth_pb.js';
import { notServed, type Peer, printable } from '../peer.ts';

const service = '/moby.filesync.v1.Auth';
/** The salt from which clients derive the key that names their account. Other daemons see other keys. */
const salt = randomBytes(32);

/**
 * The client's credentials for a registry's host; undefined when it has none. Those of a client that is gone or silent
 * count as `absent`, for many registries want none. Throws `unauthenticated` (hop `session`) when the client fails to
 * look them up.
 */
export async function registryCredentials(
  peer: Peer,
  host: string,
): Promise<RegistryCredentials | undefined> {
  // As BuildKit calls Docker Hub when it asks its clients.
  const asked = host === 'https://index.docker.io/v1/' ? 'registry-1.docker.io' : host;
  try {
    const identity = await tokenAuthority(peer, asked);
    if (identity === undefined) return await login(peer, asked);
    return { tokens: tokenSource(peer, asked, identity), login: () => login(peer, asked) };
  } catch (err) {
    const { cause } = err instanceof Error ? err : {};
    if (cause instanceof ConnectionLost) {
      return { absent: `its session ${peer.info.id} is gone (${cause.message})` };
    }
    throw err;
  }
}

async function login(peer: Peer, host: string): Promise<RegistryCredentials | undefined> {
  const what = `credentials for ${host}`;
  let answer: Uint8Array | typeof notServed;
  try {
    const request = toBinary(CredentialsRequestSchema, create(CredentialsRequestSchema, { Host: host }));
    answer = await peer.unary(what, `${service}/Credentials`, request);
  } catch (err) {
    if (!(err instanceof GrpcError)) throw err;
    throw fail(
      'unauthenticated',
      'session',
      `asking the client for ${what}: it answered: ${printable(err.message)}`,
      {
        cause: err,
        hint: `Log in again with \`docker login\`, or mend the credential helper in the client's docker config.`,
      },
    );
  }
  if (answer === notServed) return undefined;
  const { Username: username, Secret: secret } = decodeShort(CredentialsResponseSchema, answer);
  if (secret === '') return undefined;
  // A secret without a name is an identity token.
  return username === '' ? { identityToken: secret } : { username, password: secret };
}

/**
 * The account that the client's tokens belong to: the account's key, which the client proves to hold, so that builds of
 * one account share tokens. Undefined: this client gets no tokens.
 */
async function tokenAuthority(peer: Peer, host: string): Promise<string | undefined> {
  if (!peer.mayServe(`${service}/FetchToken`)) return undefined;
  const what = `its account at ${host}`;
  // Two owners' sessions may have one ID, and the registry client keeps tokens by this text.
  const own = `session ${JSON.stringify([peer.owner, peer.info.id])}`;
  let key: Uint8Array;
  try {
    const request = toBinary(
      GetTokenAuthorityRequestSchema,
      create(GetTokenAuthorityRequestSchema, { Host: host, Salt: salt }),
    );
    const answer = await peer.unary(what, `${service}/GetTokenAuthority`, request);
    if (answer === notServed) return undefined;
    key = decodeShort(GetTokenAuthorityResponseSchema, answer).PublicKey;
  } catch (err) {
    // "Unavailable" is how a client says that it has an account but keeps no key of its own.
    if (err instanceof GrpcError && err.code === UNAVAILABLE) return undefined;
    throw err instanceof GrpcError ? peer.explain(what, err) : err;
  }
  if (key.length !== 32) return own;
  const payload = randomBytes(32);
  try {
    const request = toBinary(
      VerifyTokenAuthorityRequestSchema,
      create(VerifyTokenAuthorityRequestSchema, { Host: host, Payload: payload, Salt: salt }),
    );
    const answer = await peer.unary(what, `${service}/VerifyTokenAuthority`, request);
    if (answer === notServed) return own;
    const { Signed } = decodeShort(VerifyTokenAuthorityResponseSchema, answer);
    return isSigned(Signed, payload, key) ? `account ${Buffer.from(key).toString('hex')}` : own;
  } catch (err) {
    if (err instanceof GrpcError) return own;
    throw err;
  }
}

/** Whether `signed` is the payload in NaCl's signed form: its Ed25519 signature, followed by the payload. */
function isSigned(signed: Uint8Array, payload: Buffer, key: Uint8Array): boolean {
  if (signed.length !== 64 + payload.length || !timingSafeEqual(signed.subarray(64), payload)) return false;
  try {
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(key).toString('base64url') };
    return verify(null, payload, createPublicKey({ key: jwk, format: 'jwk' }), signed.subarray(0, 64));
  } catch {
    return false;
  }
}

function tokenSource(peer: Peer, host: string, identity: string): TokenSource {
  return {
    identity,
    fetch: (request) => fetchToken(peer, host, request),
  };
}

async function fetchToken(
  peer: Peer,
  host: string,
  { realm, service: audience, scopes, signal }: TokenRequest,
): Promise<{ token: string; expiresIn?: number }> {
  const what = `a token for ${host}`;
  const request = toBinary(
    FetchTokenRequestSchema,
    create(FetchTokenRequestSchema, {
      ClientID: 'buildkit-client',
      Host: host,
      Realm: realm,
      Service: audience ?? '',
      Scopes: [...scopes],
    }),
  );
  let answer: Uint8Array | typeof notServed;
  try {
    answer = await peer.unary(what, `${service}/FetchToken`, request, { signal });
  } catch (err) {
    if (!(err instanceof GrpcError)) throw err;
    throw fail('unauthenticated', 'session', `the client could not get ${what}: ${printable(err.message)}`, {
      cause: err,
      hint: `Log in with \`docker login\`, and check that the account may do what is asked for (${scopes.join(' ')}).`,
    });
  }
  if (answer === notServed) {
    throw fail('unauthenticated', 'session', `the client could not get ${what}: it offers no tokens`);
  }
  const { Token, ExpiresIn } = decodeShort(FetchTokenResponseSchema, answer);
  return { token: Token, expiresIn: ExpiresIn > 0n ? Number(ExpiresIn) : undefined };
}
