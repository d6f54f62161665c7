import { fail } from '../../../errors/index.ts';

/** The address of a Docker engine: a unix socket, or a host and port. */
export type EngineAddress = { socketPath: string } | { host: string; port: number };

/**
 * Reads `unix:///PATH` or `tcp://HOST:PORT`. Throws `invalid`.
 *
 *     engineAddress('unix:///var/run/docker.sock') // { socketPath: '/var/run/docker.sock' }
 */
export function engineAddress(text: string): EngineAddress {
  const path = /^unix:\/\/(\/.+)$/.exec(text)?.[1];
  if (path !== undefined) return { socketPath: path };
  const match = /^(?:tcp|http):\/\/(\[[0-9a-f:.]+\]|[^:/[\]]+):(\d{1,5})\/?$/i.exec(text);
  if (match !== null) return { host: (match[1] as string).replace(/^\[|\]$/g, ''), port: Number(match[2]) };
  throw fail(
    'invalid',
    'client',
    `invalid engine ${JSON.stringify(text)}: want unix:///PATH or tcp://HOST:PORT`,
    {
      hint: 'An engine that needs TLS is reached through a socket of this machine (ssh -L, socat).',
    },
  );
}
