import type { IncomingMessage } from 'node:http';
import type { DrydockError } from '../../../errors/index.ts';
import type { ApiHost } from '../../shared/host.ts';
import { faultOf } from './errors.ts';
import { pathForLogs } from './target.ts';

/** Logs the failure of a request, whatever form its answer has. The client's own mistakes are not logged. */
export function logFault(host: Pick<ApiHost, 'log'>, request: IncomingMessage, error: DrydockError): void {
  const fault = faultOf(error);
  if (fault === undefined) return;
  host.log('error', 'request failed', { path: pathForLogs(request.url ?? ''), ...fault });
}
