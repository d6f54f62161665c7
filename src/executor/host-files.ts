/** Makes the /etc/hosts that a step sees. Pure. */
import { fail } from '../errors/index.ts';
import { ipFamily } from '../words/index.ts';

interface ExtraHost {
  host: string;
  ip: string;
}

/**
 * The text of /etc/hosts. `host-gateway` is the host's addresses as the step sees them (`hostGateway`). Throws `invalid` for
 * text that is no address.
 */
export function hostsFile(
  hostname: string,
  extra: readonly ExtraHost[],
  hostGateway: readonly string[],
): string {
  const rows = [
    `127.0.0.1\tlocalhost ${hostname}`,
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
  ];
  const each = extra.flatMap(({ host, ip }) =>
    (ip === 'host-gateway' ? hostGateway : [ip]).map((address) => ({ host, ip: address })),
  );
  for (const { host, ip } of each) {
    const address = ip.replace(/^\[(.*)\]$/, '$1');
    if (ipFamily(address) === 0 || !/^[^\s#]+$/.test(host)) {
      throw fail('invalid', 'exec', `invalid extra host ${JSON.stringify(`${host}:${ip}`)}`, {
        hint: 'Write --add-host NAME:ADDRESS, with an IP address or host-gateway.',
      });
    }
    rows.push(`${address}\t${host}`);
  }
  return `${rows.join('\n')}\n`;
}
