/**
 * `POST /session` and `POST /grpc`: the client gives its connection away. On /session Drydock becomes the client's gRPC
 * client, on /grpc its gRPC server.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { identityKey } from '../../../auth/index.ts';
import { type DrydockError, toDrydockError } from '../../../errors/index.ts';
import { answerUpgrade } from '../../../grpc/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { apiError, apiMessage, httpStatus } from '../http/errors.ts';
import type { Route } from '../http/route.ts';
import { parseTarget } from '../http/target.ts';
import { checkOldest, newestVersion, oldestVersion, serverHeader } from '../http/version.ts';

const paths = ['/session', '/grpc'] as const;
type UpgradePath = (typeof paths)[number];

/** The answer to a client that asks for these without giving its connection away. */
const plain = (path: UpgradePath): Route => ({
  method: 'POST',
  path,
  scopes: ['build'],
  handle({ request }) {
    const { upgrade } = request.headers;
    if (upgrade !== undefined) checkProtocol(path, upgrade);
    // Without the other header the request asks for no upgrade, by HTTP's rules (RFC 9110, 7.8).
    const what = upgrade === undefined ? 'no upgrade proto in request' : 'no Connection: Upgrade in request';
    throw apiError(
      'invalid',
      `${path}: ${what}`,
      'Send the headers Connection: Upgrade and Upgrade: h2c; a proxy in between must pass them on.',
    );
  },
});

function checkProtocol(path: UpgradePath, protocol: string): void {
  if (protocol.toLowerCase() === 'h2c') return;
  throw apiError('invalid', `protocol ${protocol} not supported`, `${path} speaks h2c.`);
}

export const upgradeRoutes: readonly Route[] = paths.map(plain);

/** Whether a request for another protocol is for one of these. Others are answered as if they had not asked for it. */
export function wantsUpgrade(request: IncomingMessage): boolean {
  if (request.method !== 'POST') return false;
  try {
    return upgradePath(request) !== undefined;
  } catch {
    return false;
  }
}

function upgradePath(request: IncomingMessage): UpgradePath | undefined {
  const { path } = parseTarget(request.url ?? '');
  return paths.find((known) => known === path);
}

/**
 * Admits the request and hands its connection on. A refusal is a plain HTTP answer, after which the connection closes.
 * Never throws.
 */
export async function upgradeRequest(
  host: ApiHost,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  // Until somebody listens, an error of the connection has no other place to go.
  socket.on('error', () => {});
  try {
    const path = upgradePath(request);
    if (path === undefined) throw apiError('not-found', 'page not found');
    checkOldest(parseTarget(request.url ?? '').version, host.minApiVersion ?? oldestVersion);
    checkProtocol(path, request.headers.upgrade ?? '');
    const authority = await host.admit(request, {
      endpoint: `POST ${path}`,
      scopes: ['build'],
      // What is done over the connection is told of itself.
      reads: true,
    });
    if (socket.destroyed) return;
    if (path === '/session') {
      host.sessions.upgrade(request, socket, head, identityKey(authority.identity));
    } else {
      const { grpc } = host;
      if (grpc === undefined) throw apiError('unsupported', '/grpc is not served by this daemon');
      answerUpgrade(socket, () => {
        if (head.length > 0) socket.unshift(head);
        grpc(socket, authority);
      });
    }
  } catch (err) {
    refuseUpgrade(socket, toDrydockError(err));
  }
}

/** Answers a request for another protocol with an error, after which the connection closes. */
export function refuseUpgrade(socket: Duplex, error: DrydockError): void {
  if (socket.destroyed) return;
  const body = `${JSON.stringify({ message: apiMessage(error) })}\n`;
  const lines = [
    `HTTP/1.1 ${httpStatus(error)} ${STATUS_CODES[httpStatus(error)] ?? ''}`,
    `Server: ${serverHeader}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `Api-Version: ${newestVersion}`,
    'Connection: close',
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
}
