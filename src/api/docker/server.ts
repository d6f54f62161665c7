/** The Docker Engine API over HTTP/1.1: version prefixes, routes, permission, error bodies, upgrades. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { challenge } from '../../auth/index.ts';
import { type DrydockError, toDrydockError } from '../../errors/index.ts';
import type { ApiHost } from '../shared/host.ts';
import { Front } from './behind/front.ts';
import { UploadDesk } from './build/upload-desk.ts';
import { drain } from './http/body.ts';
import { apiError, apiMessage, httpStatus } from './http/errors.ts';
import { sendError } from './http/json-stream.ts';
import { logFault } from './http/log-fault.ts';
import { Query } from './http/query.ts';
import type { Answer, Call } from './http/route.ts';
import { findRoute } from './http/router.ts';
import { parseTarget, type Target } from './http/target.ts';
import { checkOldest, newestVersion, oldestVersion, serverHeader } from './http/version.ts';
import { runtimeRefusal } from './routes/runtime.ts';
import { upgradeRequest, wantsUpgrade } from './routes/upgrades.ts';
import { routes } from './routes.ts';

/** docker's API, as the daemon's connections call it. */
export interface DockerApi {
  /** Answers a request of a node:http server. */
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Answers a request that wants another protocol on its connection. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Whether a request with an `Upgrade` header is for `upgrade`; others are answered as plain requests. */
  wantsUpgrade(request: IncomingMessage): boolean;
}

/** Makes the API of a daemon. The same routes answer with and without a version in front. */
export function dockerApi(host: ApiHost): DockerApi {
  const uploads = new UploadDesk();
  const front = host.behind === undefined ? undefined : new Front(host, host.behind);
  return {
    handle(request, response) {
      response.setHeader('Server', serverHeader);
      response.setHeader('Ostype', 'linux');
      response.setHeader('Docker-Experimental', String(host.experimental === true));
      void answer({ host, uploads, request, response }, front).catch((err) =>
        refuse(host, request, response, toDrydockError(err)),
      );
    },
    wantsUpgrade: (request) => wantsUpgrade(request) || front?.wantsUpgrade(request) === true,
    upgrade(request, socket, head) {
      if (front?.wantsUpgrade(request)) void front.upgrade(request, socket, head);
      else void upgradeRequest(host, request, socket, head);
    },
  };
}

/** A request, and the parts of the daemon that answer it. */
type Asked = Pick<Call, 'host' | 'uploads' | 'request' | 'response'>;

/** Finds the route, checks whether the caller may, and calls the handler. */
async function answer(asked: Asked, front: Front | undefined): Promise<void> {
  const { host, request, response } = asked;
  response.setHeader('Api-Version', front === undefined ? newestVersion : await front.version());
  const target = parseTarget(request.url ?? '');
  checkOldest(target.version, host.minApiVersion ?? oldestVersion);
  // Clients that ask what there is get a yes, whatever they ask about, as from dockerd.
  if (request.method === 'OPTIONS') {
    await host.admit(request, { endpoint: 'OPTIONS', scopes: [], reads: true });
    drain(request);
    return send(response, { status: 200 });
  }
  if (front?.takes(target.path)) return front.answer(callOf(asked, target), target.path);
  const found = findRoute(routes, request.method ?? '', target.path);
  if (found === undefined) throw runtimeRefusal(target.path) ?? apiError('not-found', 'page not found');
  const { route, name, shown } = found;
  const { method, scopes } = route;
  const authority = await host.admit(request, {
    endpoint: `${method} ${shown}`,
    scopes,
    reads: method === 'GET' || method === 'HEAD',
  });
  const call: Call = { ...callOf(asked, target), name, authority };
  if (await front?.takesImage(call, route)) return;
  const result = await route.handle(call);
  if (result === undefined) return;
  drain(request);
  send(response, result);
}

function callOf(asked: Asked, { version, search }: Target): Omit<Call, 'name' | 'authority'> {
  const { response } = asked;
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort(new Error('the client went away'));
  });
  return { ...asked, version, query: new Query(search), signal: gone.signal };
}

function send(response: ServerResponse, result: NonNullable<Answer>): void {
  if (response.headersSent || response.destroyed) return;
  if ('text' in result || 'json' in result) {
    const text = 'text' in result ? result.text : `${JSON.stringify(result.json)}\n`;
    const type = 'text' in result ? 'text/plain; charset=utf-8' : 'application/json';
    const status = ('status' in result ? result.status : undefined) ?? 200;
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
    response.end(text);
    return;
  }
  const { status } = result;
  response.writeHead(status, status === 204 || status === 304 ? {} : { 'content-length': 0 });
  response.end();
}

/** Answers with an error. An answer that has begun is broken off, so that the client sees that it is not whole. */
function refuse(
  host: ApiHost,
  request: IncomingMessage,
  response: ServerResponse,
  error: DrydockError,
): void {
  const status = httpStatus(error);
  logFault(host, request, error);
  if (response.headersSent) return void (response.writableEnded || response.destroy());
  drain(request);
  if (status === 401) response.setHeader('www-authenticate', challenge);
  sendError(response, status, apiMessage(error));
}
