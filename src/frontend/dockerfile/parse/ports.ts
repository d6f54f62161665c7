/** Ports of EXPOSE: `80`, `80/udp`, `8000-8010/tcp`, and the deprecated `[ip:]host:container`. */
import { isIP } from 'node:net';
import type { SourceRange } from '../../../errors/index.ts';
import type { Finding } from '../ast.ts';
import { finding } from '../lint/rules.ts';
import { invalid } from './errors.ts';

/** The most ports of one EXPOSE: all that there are, of each protocol. */
const MAX_PORTS = 3 * 65536;

const HINT = 'Write EXPOSE <port>[-<port>][/tcp, udp or sctp].';

function portNumber(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65535 ? port : undefined;
}

function portRange(text: string, what: string): [number, number] {
  const dash = text.indexOf('-');
  const start = portNumber(dash < 0 ? text : text.slice(0, dash));
  const end = dash < 0 ? start : portNumber(text.slice(dash + 1));
  if (start === undefined || end === undefined || end < start)
    throw invalid(`invalid ${what}: ${text}`, HINT);
  return [start, end];
}

/**
 * The ports in the expanded words of an EXPOSE, each as `port/protocol`, with the findings of the checks; with `lists`
 * false, the findings alone. Throws `invalid`.
 */
export function exposedPorts(
  words: string[],
  range: SourceRange,
  lists = true,
): { ports: string[]; findings: Finding[] } {
  const ports: string[] = [];
  const findings: Finding[] = [];
  for (const word of words) {
    const parts = word.split(':');
    const [container = '', protocolWritten = ''] = (parts.at(-1) ?? '').split(/\/(.*)/s);
    const host = parts.length > 1 ? parts.at(-2)! : '';
    const ip = parts.slice(0, -2).join(':');
    if (container === '') throw invalid(`invalid port: ${JSON.stringify(word)}: no port specified`, HINT);
    const protocol = protocolWritten.toLowerCase() || 'tcp';
    if (!['tcp', 'udp', 'sctp'].includes(protocol))
      throw invalid(`invalid port: ${JSON.stringify(word)}: invalid proto: ${protocolWritten}`, HINT);
    if (protocolWritten !== protocolWritten.toLowerCase())
      findings.push(finding('ExposeProtoCasing', range, word));
    if (ip !== '' || host !== '') findings.push(finding('ExposeInvalidFormat', range, word));
    if (ip !== '' && isIP(ip.replace(/^\[(.*)\]$/, '$1')) === 0)
      throw invalid(`invalid IP address: ${ip}`, HINT);
    const [start, end] = portRange(container, 'containerPort');
    if (host !== '') {
      const [hostStart, hostEnd] = portRange(host, 'hostPort');
      // a range of host ports for one container port is fine: one of them is taken
      if (start !== end && hostEnd - hostStart !== end - start)
        throw invalid(
          `invalid ranges specified for container and host Ports: ${container} and ${host}`,
          HINT,
        );
    }
    if (ports.length > MAX_PORTS) throw invalid(`EXPOSE of more than ${MAX_PORTS} ports`, HINT);
    if (!lists) continue;
    for (let port = start; port <= end; port++) ports.push(`${port}/${protocol}`);
  }
  return { ports, findings };
}
