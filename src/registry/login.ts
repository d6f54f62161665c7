/** Checks a user's credentials at a registry by `GET /v2/`, as the distribution spec describes authorization. */
import type { RegistryCredentials } from '../oci/index.ts';
import type { HostServer } from './hosts-file.ts';
import { Transport, type TransportOptions } from './transport.ts';

/**
 * Throws `unauthenticated` when the registry at `host` (as in URLs) refuses them, `unavailable` when it does not
 * answer. `server` is how a `hosts.toml` describes the registry, where there is one.
 *
 *     await checkLogin('registry.example.com', { username: 'me', password }, transportOptions);
 */
export async function checkLogin(
  host: string,
  credentials: RegistryCredentials,
  options: TransportOptions,
  signal?: AbortSignal,
  server?: HostServer,
): Promise<void> {
  // This transport uses nothing that other requests have learnt or been given.
  const transport = new Transport({ ...options, retries: 0, idleMs: 30_000 });
  if (server !== undefined) transport.learn(server);
  try {
    const response = await transport.call({
      purpose: { doing: `logging in to ${host}`, host: server?.name ?? host, repository: host },
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
