/**
 * The web page and its API, below `/ui`: routes, permission, errors, and the headers that keep the page to itself.
 *
 * A new view of the page begins with a table of routes beside `build-routes.ts`, which is added to `routes` here; its
 * data's shapes are in `types.ts`, from where the page takes them; and `ui/views` has a file for what is shown.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { challenge, identityKey } from '../../auth/index.ts';
import { type DrydockError, fail, toDrydockError } from '../../errors/index.ts';
import { version } from '../../version.ts';
import { drain } from '../docker/http/body.ts';
import { apiMessage, httpStatus } from '../docker/http/errors.ts';
import { logFault } from '../docker/http/log-fault.ts';
import { type Asset, assets } from './assets.ts';
import { buildRoutes } from './build-routes.ts';
import { UiBuilds } from './builds.ts';
import { diskRoutes } from './disk-routes.ts';
import { imageRoutes } from './image-routes.ts';
import { findUiRoute, type UiHost, type UiRoute } from './route.ts';
import { whoOf } from './summary.ts';
import type { ApiFailure, Me } from './types.ts';

const api = '/ui/api/v1';

const routes: readonly UiRoute[] = [
  {
    method: 'GET',
    path: '/me',
    scopes: [],
    handle({ authority, host }) {
      const me: Me = {
        who: whoOf(identityKey(authority.identity)),
        scopes: [...authority.scopes],
        version: authority.scopes.has('system:read') ? version : undefined,
        now: Date.now(),
        history: host.observed !== undefined,
      };
      return { json: me };
    },
  },
  ...buildRoutes,
  ...diskRoutes,
  ...imageRoutes,
];

/** What the page may load and do: its own files, its own daemon, what is in its document, nothing else. */
function policyOf(inline?: Asset['inline']): string {
  return [
    "default-src 'none'",
    `script-src 'self'${inline === undefined ? '' : ` '${inline.script}'`}`,
    `style-src 'self'${inline === undefined ? '' : ` '${inline.style}'`}`,
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
}

const headers: Readonly<Record<string, string>> = {
  'content-security-policy': policyOf(),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), geolocation=()',
};

/** The page, as the daemon's connections call it. */
export interface UiApi {
  /** Whether a request is for the page. */
  takes(url: string): boolean;
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Whether a request is answered by a stream that has no end of its own. */
  isStream(url: string): boolean;
  /** Ends the streams. */
  close(): void;
}

/** Makes the page of a daemon. */
export function uiApi(host: UiHost): UiApi {
  const builds = host.observed && new UiBuilds(host.observed, host.engine?.store);
  const closing = new AbortController();
  const isOurs = (url: string) => /^\/ui(?:[/?#]|$)/.test(url);
  return {
    takes: isOurs,
    isStream: (url) => isOurs(url) && /\/events(?:\?|$)/.test(url),
    close: () => closing.abort(),
    handle(request, response) {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      void answer(host, builds, request, response, closing.signal).catch((err) =>
        refuse(host, request, response, toDrydockError(err)),
      );
    },
  };
}

async function answer(
  host: UiHost,
  builds: UiBuilds | undefined,
  request: IncomingMessage,
  response: ServerResponse,
  closing: AbortSignal,
): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost');
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
  if (!pathname.startsWith(`${api}/`)) {
    drain(request);
    return sendAsset(host, request, response, method, pathname);
  }
  const path = pathname.slice(api.length);
  const found = findUiRoute(routes, method, path);
  if (found === undefined) throw fail('not-found', 'client', `there is no ${method} ${pathname}`);
  const { route, names } = found;
  const authority = await host.admit(request, {
    endpoint: `${method} ${api}${route.path}`,
    scopes: route.scopes,
    reads: method === 'GET',
    fromPage: 'data',
  });
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, closing]);
  const call = {
    ...{ host, request, response, names, query: searchParams, authority, signal },
    get builds() {
      if (builds !== undefined) return builds;
      throw fail('unsupported', 'host', 'this daemon keeps no builds to show', {
        hint: "They come with BuildKit's API, which is turned off here.",
      });
    },
  };
  const result = await route.handle(call);
  drain(request);
  if (result === undefined || response.destroyed) return;
  sendJson(response, 200, result.json);
}

/** Sends the document, or one of the page's other files. */
async function sendAsset(
  host: UiHost,
  request: IncomingMessage,
  response: ServerResponse,
  method: string,
  pathname: string,
): Promise<void> {
  if (method !== 'GET')
    throw fail('unsupported', 'client', `${request.method} ${pathname}: the page is only read`);
  if (pathname === '/ui') {
    response.writeHead(308, { location: '/ui/', 'content-length': 0 }).end();
    return;
  }
  const name = pathname.startsWith('/ui/') ? pathname.slice('/ui/'.length) : pathname;
  const isDocument = name === '';
  const ask = {
    endpoint: 'GET /ui',
    scopes: [],
    reads: true,
    fromPage: isDocument ? 'document' : 'data',
  } as const;
  const authority = await host.admit(request, ask);
  // Who is nobody yet is asked for a password; who may nothing is told so.
  if (isDocument && authority.scopes.size === 0) {
    await host.admit(request, { ...ask, scopes: ['build'] });
  }
  const asset = (await assets()).get(isDocument ? 'index.html' : name);
  if (asset === undefined) throw fail('not-found', 'client', `the page has no file ${name}`);
  sendFile(request, response, asset);
}

function sendFile(request: IncomingMessage, response: ServerResponse, asset: Asset): void {
  const { type, plain, packed, lasting, etag, inline } = asset;
  if (inline !== undefined) response.setHeader('content-security-policy', policyOf(inline));
  response.setHeader('etag', etag);
  response.setHeader('vary', 'accept-encoding');
  response.setHeader('cache-control', lasting ? 'private, max-age=31536000, immutable' : 'no-cache');
  if (request.headers['if-none-match'] === etag) return void response.writeHead(304).end();
  const zipped = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
  const bytes = zipped ? packed : plain;
  response.writeHead(200, {
    'content-type': type,
    'content-length': bytes.length,
    ...(zipped && { 'content-encoding': 'gzip' }),
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}

/** Answers with an error, as JSON. A stream that has begun is broken off. */
function refuse(host: UiHost, request: IncomingMessage, response: ServerResponse, error: DrydockError): void {
  const status = httpStatus(error);
  logFault(host, request, error);
  if (response.headersSent) return void (response.writableEnded || response.destroy());
  drain(request);
  if (status === 401) response.setHeader('www-authenticate', challenge);
  const { code, hop, hint } = error;
  const body: ApiFailure = {
    error: { code, message: apiMessage(Object.assign(error, { hint: undefined })), hop, hint },
  };
  sendJson(response, status, body);
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(text);
}
