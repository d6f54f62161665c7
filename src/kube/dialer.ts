/** Connections with the daemon in a pod, which is chosen once. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { canceled, fail, toDrydockError } from '../errors/index.ts';
import { socketPair } from '../linux/index.ts';
import { type KubeAddress, parseKubeAddress } from './address.ts';
import { execIn, listPods, type Pod } from './api.ts';
import { podsFor } from './choose.ts';
import { type Cluster, clusterOf } from './config.ts';
import type { ExecStream } from './exec-stream.ts';

/** What joins a connection to the daemon's socket in its pod. */
const program = ['buildctl', 'dial-stdio'];

/** The way to one pod's daemon. */
interface PodDialer {
  /** `POD (NAMESPACE)`, for messages. */
  readonly name: string;
  /** Opens a connection, which emits `connect` or fails with `unavailable`, `denied` … */
  dial(): Socket;
}

/**
 * Chooses the pod that an address and a key mean, and opens connections to its daemon. Of a selector's pods, those that
 * are ready are taken in the key's order; one in which nothing can be started is passed over. Throws `not-found` when
 * there is no pod, `unavailable` when none is ready, and the API server's errors.
 *
 *     const { dial } = await podDialer('kube://builds/app=drydock', 'github.com/you/web', process.env, signal);
 */
export async function podDialer(
  text: string,
  key: () => string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<PodDialer> {
  const address = parseKubeAddress(text);
  const cluster = clusterOf(address, env);
  const namespace = address.namespace ?? cluster.namespace;
  const pods = await candidates(cluster, namespace, address, key, signal);
  let first: ExecStream | undefined;
  let failure: unknown;
  for (const pod of pods) {
    const container = address.container ?? pod.container;
    const open = () => execIn(cluster, { namespace, pod: pod.name, container, command: program }, signal);
    try {
      // The first connection is made now: a pod may have ended since it was listed.
      first = await connected(open());
    } catch (err) {
      if (signal.aborted) throw canceled(signal.reason);
      failure ??= err;
      continue;
    }
    return {
      name: `${pod.name} (${namespace})`,
      dial() {
        const ready = first?.destroyed === false ? first : undefined;
        first = undefined;
        ready?.keepsAlive(true);
        return socketOver(ready ?? open(), ready !== undefined);
      },
    };
  }
  throw toDrydockError(failure);
}

/** A socket that carries what a stream does: HTTP/2 takes a stream's last bytes for a broken connection now and then. */
function socketOver(stream: ExecStream, isConnected: boolean): Socket {
  const [near, far] = socketPair();
  const connect = () => void near.emit('connect');
  if (isConnected) process.nextTick(connect);
  else stream.once('connect', connect);
  stream.on('error', (err) => near.destroy(err));
  far.on('error', () => {});
  far.pipe(stream).pipe(far);
  near.once('close', () => stream.destroy());
  return near;
}

/** Waits until a stream is connected; it then keeps no process alive. */
async function connected(stream: ExecStream): Promise<ExecStream> {
  await once(stream, 'connect');
  // Until somebody takes it, its end is nobody's trouble.
  stream.on('error', () => {});
  stream.keepsAlive(false);
  return stream;
}

async function candidates(
  cluster: Cluster,
  namespace: string,
  { pod, selector, key }: KubeAddress,
  projectKey: () => string,
  signal: AbortSignal,
): Promise<Pick<Pod, 'name' | 'container'>[]> {
  // Without a container's name, the API server takes the pod's only one, or says which there are.
  if (pod !== undefined) return [{ name: pod, container: undefined }];
  const all = await listPods(cluster, namespace, selector as string, signal);
  const fit = all.filter(({ ready, ending }) => ready && !ending);
  if (fit.length === 0) {
    const what = `${namespace}: of ${all.length} pods with ${selector}`;
    throw all.length === 0
      ? fail(
          'not-found',
          'client',
          `there is no pod with the labels ${selector} in the namespace ${namespace}`,
        )
      : fail('unavailable', 'client', `${what} none is ready`, { hint: 'Try again in a moment.' });
  }
  const order = podsFor(
    key ?? projectKey(),
    fit.map(({ name }) => name),
  );
  return order.map((name) => fit.find((each) => each.name === name) as Pod);
}
