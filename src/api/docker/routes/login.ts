/** `POST /auth`: whether a registry takes these credentials. */

import { DrydockError, fail } from '../../../errors/error.ts';
import type { RegistryCredentials } from '../../../oci/credentials.ts';
import { parseChallenge } from '../../../registry/auth.ts';
import { connectionError, statusError } from '../../../registry/errors.ts';
import { hostname, isLocalHost } from '../../../registry/hosts.ts';
import { readJsonBody } from '../http/body.ts';
import { apiError } from '../http/errors.ts';
import { credentialsOf } from '../http/registry-auth.ts';
import type { Call, Route } from '../http/route.ts';

export const loginRoutes: Route[] = [
  { method: 'POST', path: '/auth', scopes: ['images:read'], handle: login },
];

async function login({ host, request, signal }: Call) {
  const body = await readJsonBody(request);
  const credentials = credentialsOf(body);
  if (credentials === undefined) throw apiError('invalid', 'the request holds no credentials');
  const address = typeof body.serveraddress === 'string' ? body.serveraddress : '';
  const server = serverOf(address);
  try {
    await check(server, credentials, host.insecureRegistries, signal);
  } catch (err) {
    if (err instanceof DrydockError && err.code === 'unauthenticated') {
      throw apiError('unauthenticated', `login to ${server} failed: ${err.message}`);
    }
    throw err;
  }
  return { json: { Status: 'Login Succeeded', IdentityToken: credentials.identityToken ?? '' } };
}

/** The API host of docker's `serveraddress`; none means Docker Hub. */
function serverOf(address: string): string {
  const host = address.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  if (host === '' || /^(index\.|registry-1\.)?docker\.io$/.test(host)) return 'registry-1.docker.io';
  if (!/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?$/.test(host)) {
    throw apiError('invalid', `invalid serveraddress ${JSON.stringify(address)}`);
  }
  return host;
}

/** Asks `/v2/` as https://distribution.github.io/distribution/spec/auth/ describes; throws `unauthenticated`. */
async function check(
  host: string,
  credentials: RegistryCredentials,
  insecure: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const purpose = { doing: `logging in to ${host}`, host, repository: host };
  const plain = isLocalHost(host) || insecure.includes(host) || insecure.includes(hostname(host));
  const limit = AbortSignal.any([signal, AbortSignal.timeout(30_000)]);
  const get = (url: URL | string, headers: Record<string, string> = {}) =>
    fetch(url, { headers, signal: limit, redirect: 'follow' }).catch((err) => {
      throw connectionError(purpose, err instanceof Error && err.cause !== undefined ? err.cause : err);
    });
  const base = `${plain ? 'http' : 'https'}://${host}/v2/`;
  const first = await get(base);
  const body = await first.text();
  if (first.ok) return;
  const challenge = parseChallenge(first.headers.get('www-authenticate') ?? undefined);
  if (first.status !== 401 || challenge === undefined)
    throw statusError(purpose, first.status, body, undefined);
  const { username, password, identityToken } = credentials;
  const basic =
    username === undefined || password === undefined
      ? undefined
      : `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  let second: Response;
  if (challenge.scheme === 'basic') {
    if (basic === undefined) throw fail('unauthenticated', 'registry', 'it wants a user name and a password');
    second = await get(base, { authorization: basic });
  } else {
    const url = new URL(challenge.realm);
    if (challenge.service !== undefined) url.searchParams.set('service', challenge.service);
    if (identityToken !== undefined) {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: identityToken,
        client_id: 'drydock',
        ...(challenge.service === undefined ? {} : { service: challenge.service }),
      });
      second = await fetch(url, { method: 'POST', body: form, signal: limit }).catch((err) => {
        throw connectionError(purpose, err instanceof Error && err.cause !== undefined ? err.cause : err);
      });
    } else {
      if (basic === undefined)
        throw fail('unauthenticated', 'registry', 'it wants a user name and a password');
      url.searchParams.set('account', username ?? '');
      second = await get(url, { authorization: basic });
    }
  }
  const answer = await second.text();
  if (second.ok) return;
  throw statusError(purpose, second.status === 403 ? 401 : second.status, answer, credentials);
}
