/** `POST /auth`: whether a registry takes these credentials. */

import { DrydockError } from '../../../errors/index.ts';
import { hostOfAddress } from '../../../words/index.ts';
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
    await host.engine.registry.login(server, credentials, signal);
  } catch (err) {
    if (err instanceof DrydockError && err.code === 'unauthenticated') {
      throw apiError('unauthenticated', `login to ${server} failed: ${err.message}`);
    }
    throw err;
  }
  return { json: { Status: 'Login Succeeded', IdentityToken: credentials.identityToken ?? '' } };
}

/** The API host of docker's `serveraddress`; without one, Docker Hub's. */
function serverOf(address: string): string {
  const host = hostOfAddress(address);
  if (host === '' || /^(index\.|registry-1\.)?docker\.io$/.test(host)) return 'registry-1.docker.io';
  if (!/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?$/.test(host)) {
    throw apiError('invalid', `invalid serveraddress ${JSON.stringify(address)}`);
  }
  return host;
}
