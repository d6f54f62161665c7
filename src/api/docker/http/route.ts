/** A route of the API as the tables in routes/ declare it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Authority, Scope } from '../../../auth/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import type { UploadDesk } from '../build/upload-desk.ts';
import type { Query } from './query.ts';

/** One request as handlers see it. */
export interface Call {
  host: ApiHost;
  /** Builds' files that came by a request of their own. */
  uploads: UploadDesk;
  request: IncomingMessage;
  response: ServerResponse;
  /** The API version asked for: `1.41`. */
  version: string;
  query: Query;
  /** What stands for `*` in the route's path, decoded. */
  name: string;
  authority: Authority;
  /** Fires when the client is gone before the answer is complete. */
  signal: AbortSignal;
}

/**
 * What a handler gives back: an object to send as JSON, `{ status, body? }` for other answers, or nothing when it
 * has answered on `response` itself.
 */
export type Answer = { json: unknown; status?: number } | { status: number } | { text: string } | undefined;

export interface Route {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** `/images/*` and a suffix such as `/json` after the name, which may hold slashes. */
  path: string;
  suffix?: string;
  /** What the caller must be allowed to do, all of it; none for what anyone may ask. */
  scopes: readonly Scope[];
  handle(call: Call): Promise<Answer> | Answer;
}
