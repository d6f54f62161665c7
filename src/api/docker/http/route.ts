/** A route of the API, as the tables in routes/ declare it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Authority, Scope } from '../../../auth/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import type { UploadDesk } from '../build/upload-desk.ts';
import type { Query } from './query.ts';

/** One request, as its handler sees it. */
export interface Call {
  host: ApiHost;
  /** The bodies of builds that came by requests of their own. */
  uploads: UploadDesk;
  request: IncomingMessage;
  response: ServerResponse;
  /** The API version that is asked for: `1.41`. */
  version: string;
  query: Query;
  /** The decoded text that stands for `*` in the route's path. */
  name: string;
  authority: Authority;
  /** Fires when the client is gone before the answer is complete. */
  signal: AbortSignal;
}

/**
 * The result of a handler: an object to send as JSON, `{ status, body? }` for other answers, or nothing when the
 * handler has answered on `response` itself.
 */
export type Answer = { json: unknown; status?: number } | { status: number } | { text: string } | undefined;

/** A route: its method and path, the scopes that it needs, and its handler. */
export interface Route {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** The path. `*` in it is a name, which may hold slashes, and a suffix such as `/json` may follow. */
  path: string;
  suffix?: string;
  /** The scopes that the caller needs, all of them; empty for routes that are open to everyone. */
  scopes: readonly Scope[];
  handle(call: Call): Promise<Answer> | Answer;
}
