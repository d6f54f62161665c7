import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Authority } from '../../auth/index.ts';

/**
 * A method that takes over a call that was admitted. An error that it throws before it has answered is the call's
 * status.
 */
export type RawMethod = (
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  caller: Authority,
) => void | Promise<void>;
