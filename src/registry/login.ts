/** Checks a user's credentials at a registry by `GET /v2/`, as the distribution spec describes authorization. */
import type { RegistryCredentials } from '../oci/index.ts';
import { Transport, type TransportOptions } from './transport.ts';

/**
 * Throws `unauthenticated` when the registry at `host` (as in URLs) refuses them, `unavailable` when it does not
 * answer.
 *
 *     await checkLogin('registry.example.com', { username: 'me', password }, transportOptions);
 */
export async function checkLogin(
  host: string,
  credentials: RegistryCredentials,
  options: TransportOptions,
  signal?: AbortSignal,
): Promise<void> {
  // This transport uses nothing that other requests have learnt or been given.
  const transport = new Transport({ ...options, retries: 0, idleMs: 30_000 });
  try {
    const response = await transport.call({
      purpose: { doing: `logging in to ${host}`, host, repository: host },
      path: '',
      method: 'GET',
      at: '',
      ok: [200],
      credentials: async () => credentials,
      signal,
    });
    response.resume();
  } finally {
    transport.close();
  }
}
