/** What an answer of Azure Blob Storage means. https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes */
import type { HttpResponse } from '../../registry/index.ts';
import type { ObjectTrouble, Refusal } from '../trouble.ts';
import { text } from '../xml.ts';

const byCode: Readonly<Record<string, ObjectTrouble>> = {
  BlobNotFound: 'not-found',
  ResourceNotFound: 'not-found',
  ContainerNotFound: 'no-bucket',
  ServerBusy: 'throttled',
  OperationTimedOut: 'temporary',
  InternalError: 'temporary',
  ContainerBeingDeleted: 'temporary',
  Md5Mismatch: 'temporary',
  InvalidBlockList: 'not-found',
};

/** Azure takes requests whose date is up to 15 minutes off. */
const mostSkew = 14 * 60_000;

/** Understands an answer that is a failure. Pure. */
export function azureRefusal(
  status: number,
  headers: HttpResponse['headers'],
  body: string,
  skewMs: number,
): Refusal {
  const header = headers['x-ms-error-code'];
  const code = typeof header === 'string' ? header : (text(body, 'Code') ?? '');
  const message = (text(body, 'Message') ?? '').split('\n')[0] ?? '';
  const detail = text(body, 'AuthenticationErrorDetail') ?? '';
  const said = [code, message, detail].filter((part) => part !== '').join(': ');
  if (status === 401 || status === 403) {
    if (skewMs > mostSkew) return { trouble: 'clock-skew', said };
    const hasEnded = /expired|not valid in the specified time frame/i.test(said);
    return {
      trouble: hasEnded ? 'expired-token' : 'forbidden',
      said,
      ...(hasEnded
        ? {}
        : {
            hint: 'Check the account key, the SAS (it needs read, write, create, list and delete) or the identity’s role (Storage Blob Data Contributor).',
          }),
    };
  }
  return { trouble: byCode[code] ?? byStatus(status), said };
}

function byStatus(status: number): ObjectTrouble {
  if (status === 404) return 'not-found';
  if (status === 429 || status === 503) return 'throttled';
  if (status === 405 || status === 501) return 'unsupported';
  return status === 408 || status >= 500 ? 'temporary' : 'other';
}
