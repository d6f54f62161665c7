/** The Docker Engine API over HTTP/1.1: version prefixes, routes, permission, error bodies, upgrades. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { challenge } from '../../auth/credential.ts';
import { DrydockError, toDrydockError } from '../../errors/error.ts';
import type { ApiHost } from '../shared/host.ts';
import { drain } from './http/body.ts';
import { apiError, apiMessage, httpStatus } from './http/errors.ts';
import { sendError } from './http/json-stream.ts';
import { Query } from './http/query.ts';
import type { Call, Route } from './http/route.ts';
import { newestVersion, oldestVersion, splitVersion } from './http/version.ts';
import { runtimeRefusal } from './routes/runtime.ts';
import { upgradeRequest, wantsUpgrade } from './routes/upgrades.ts';
import { routes } from './routes.ts';

export interface DockerApi {
  /** Answers a request of a node:http server. */
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Answers a request that wants another protocol on its connection. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Whether a request with an `Upgrade` header is for `upgrade`; others are answered as plain requests. */
  wantsUpgrade(request: IncomingMessage): boolean;
}

/** The API version of a request whose prefix was taken off. */
const versions = new WeakMap<IncomingMessage, string>();

/** Makes the API of a daemon. The same routes answer with and without a version in front. */
export async function dockerApi(host: ApiHost): Promise<DockerApi> {
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: 4096 },
    bodyLimit: Number.MAX_SAFE_INTEGER,
    // Nothing that is uploaded is read before its route asks for it.
    requestTimeout: 0,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  addRoutes(app, host);
  app.setNotFoundHandler((request, reply) => {
    const error = runtimeRefusal(request.url) ?? apiError('not-found', 'page not found');
    sendFailure(host, request.raw, reply, error);
  });
  app.setErrorHandler((err, request, reply) => {
    sendFailure(host, request.raw, reply, fromFastify(err));
  });
  await app.ready();
  return {
    handle(request, response) {
      response.setHeader('Server', serverHeader);
      response.setHeader('Api-Version', newestVersion);
      response.setHeader('Ostype', 'linux');
      response.setHeader('Docker-Experimental', 'false');
      try {
        const { url, version } = splitVersion(request.url ?? '/');
        versions.set(request, version);
        request.url = url;
      } catch (err) {
        const error = toDrydockError(err);
        drain(request);
        sendError(response, httpStatus(error), apiMessage(error));
        return;
      }
      app.routing(request, response);
    },
    wantsUpgrade,
    upgrade(request, socket, head) {
      void upgradeRequest(host, request, socket, head);
    },
  };
}

const serverHeader = `Drydock (linux) API/${oldestVersion}-${newestVersion}`;

function addRoutes(app: FastifyInstance, host: ApiHost): void {
  const groups = new Map<string, Route[]>();
  for (const route of routes) {
    const key = `${route.method} ${route.path}`;
    groups.set(key, [...(groups.get(key) ?? []), route]);
  }
  for (const group of groups.values()) {
    const { method, path } = group[0] as Route;
    app.route({
      method,
      url: path,
      async handler(request, reply) {
        const name = path.endsWith('*') ? String((request.params as { '*': string })['*']) : '';
        for (const route of group) {
          const suffix = route.suffix ?? '';
          if (!name.endsWith(suffix) || (suffix !== '' && name.length === suffix.length)) continue;
          await run(host, route, name.slice(0, name.length - suffix.length), request, reply);
          return reply;
        }
        throw runtimeRefusal(request.raw.url) ?? apiError('not-found', 'page not found');
      },
    });
  }
}

async function run(
  host: ApiHost,
  route: Route,
  name: string,
  { raw }: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const path = `${route.path.replace(/\*$/, name === '' ? '' : '{name}')}${route.suffix ?? ''}`;
  const { method, scopes } = route;
  const authority = await host.admit(raw, {
    endpoint: `${method} ${path}`,
    scopes,
    reads: method === 'GET' || method === 'HEAD',
  });
  const gone = new AbortController();
  const response = reply.raw;
  response.once('close', () => {
    if (!response.writableFinished) gone.abort(new Error('the client went away'));
  });
  const call: Call = {
    host,
    request: raw,
    response,
    version: versions.get(raw) ?? newestVersion,
    query: new Query(raw.url ?? ''),
    name,
    authority,
    signal: gone.signal,
  };
  const answer = await route.handle(call);
  if (answer === undefined) {
    reply.hijack();
    return;
  }
  drain(raw);
  if ('text' in answer) {
    reply.header('content-type', 'text/plain; charset=utf-8').send(answer.text);
  } else if ('json' in answer) {
    const body = `${JSON.stringify(answer.json)}\n`;
    reply
      .code(answer.status ?? 200)
      .header('content-type', 'application/json')
      .send(Buffer.from(body));
  } else reply.code(answer.status).send();
}

/** fastify's own complaints (a URL that does not decode and the like) are the client's mistakes. */
function fromFastify(err: unknown): DrydockError {
  if (err instanceof DrydockError) return err;
  if (
    err instanceof Error &&
    'statusCode' in err &&
    typeof err.statusCode === 'number' &&
    err.statusCode < 500
  ) {
    return apiError('invalid', err.message);
  }
  return toDrydockError(err);
}

/** The body goes as bytes: fastify adds a charset to texts' types, and docker's CLI then shows the JSON as it is. */
function sendFailure(
  host: ApiHost,
  request: IncomingMessage,
  reply: FastifyReply,
  error: DrydockError,
): void {
  drain(request);
  const status = httpStatus(error);
  if (status === 500 && error.code === 'internal') {
    host.log('error', 'request failed', {
      url: request.url?.split('?')[0],
      error: error.message,
      stack: error.cause instanceof Error ? error.cause.stack : error.stack,
    });
  }
  const body = `${JSON.stringify({ message: apiMessage(error) })}\n`;
  if (status === 401) reply.header('www-authenticate', challenge);
  reply.code(status).header('content-type', 'application/json').send(Buffer.from(body));
}
