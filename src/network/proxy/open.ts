/** Opens the proxy of a step: its namespace, its socket, and the authority of this process. */

import { closeFd } from '../../linux/index.ts';
import type { NetworkUse } from '../../progress/index.ts';
import { runTask } from '../../workers/index.ts';
import { Authority } from './authority.ts';
import { Capture } from './capture.ts';
import { type ProxyOptions, StepProxy } from './proxy.ts';
import { upstreamFor } from './upstream.ts';

let authority: Promise<Authority> | undefined;

interface OpenedProxy {
  /** The path of the namespace. */
  namespace: string;
  env: readonly string[];
  authority: string;
  use(): NetworkUse;
  close(): void;
}

/** The port of the proxy on the loopback of each namespace. */
const port = 61_080;

/** Opens it. `variables`: the step's own, as `K=V`, among which may be proxies. */
export async function openProxy({
  variables,
  ...options
}: Pick<ProxyOptions, 'gate' | 'check' | 'trusted'> & {
  variables: readonly string[];
}): Promise<OpenedProxy> {
  authority ??= Authority.create();
  const own = await authority;
  const made = await runTask('network.make', { proxy: port }, { alone: true });
  const { fd, dns, watch = -1, proxy } = made;
  for (const each of [watch, dns.udp, dns.tcp, ...made.counters]) closeFd(each);
  const capture = new Capture();
  const stepOwn = Object.fromEntries(variables.map((entry) => entry.split(/=(.*)/s, 2)));
  const upstream = (url: URL) => upstreamFor(url, stepOwn, process.env);
  const server = new StepProxy(proxy as number, { ...options, authority: own, capture, upstream });
  const url = `http://127.0.0.1:${port}`;
  const both = (name: string, value: string) => [`${name}=${value}`, `${name.toLowerCase()}=${value}`];
  return {
    namespace: `/proc/${process.pid}/fd/${fd}`,
    env: [
      ...both('HTTP_PROXY', url),
      ...both('HTTPS_PROXY', url),
      ...both('NO_PROXY', '127.0.0.1,localhost,::1'),
    ],
    authority: own.pem,
    use: () => capture.use,
    close() {
      server.close();
      closeFd(fd);
    },
  };
}
