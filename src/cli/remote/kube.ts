/** The daemon in a pod, as an endpoint for commands. Loaded late. */
import { podDialer } from '../../kube/index.ts';
import { type Endpoint, traceHeaders } from './endpoint.ts';
import { projectKey } from './project-key.ts';

/**
 * Chooses the pod that a `kube://` or `kube-pod://` address means for the project in the current folder, or for
 * DRYDOCK_KUBE_KEY. Throws what `podDialer` throws.
 */
export async function kubeEndpoint(
  host: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Endpoint> {
  const { name, dial } = await podDialer(
    host,
    () => env.DRYDOCK_KUBE_KEY || projectKey(process.cwd()),
    env,
    signal,
  );
  return {
    name: `the pod ${name}`,
    options: { createConnection: dial },
    tls: false,
    headers: {
      ...traceHeaders(env),
      ...(env.DRYDOCK_TOKEN && { authorization: `Bearer ${env.DRYDOCK_TOKEN}` }),
    },
    dial,
  };
}
