/**
 * What an answer of S3 means. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
import type { HttpResponse } from '../../registry/index.ts';
import type { ObjectTrouble, Refusal } from '../trouble.ts';
import { text } from '../xml.ts';

const byCode: Readonly<Record<string, ObjectTrouble>> = {
  NoSuchKey: 'not-found',
  NoSuchUpload: 'not-found',
  NoSuchBucket: 'no-bucket',
  RequestTimeTooSkewed: 'clock-skew',
  RequestExpired: 'clock-skew',
  ExpiredToken: 'expired-token',
  ExpiredTokenException: 'expired-token',
  TokenRefreshRequired: 'expired-token',
  SlowDown: 'throttled',
  Throttling: 'throttled',
  ThrottlingException: 'throttled',
  RequestLimitExceeded: 'throttled',
  TooManyRequests: 'throttled',
  RequestTimeout: 'temporary',
  InternalError: 'temporary',
  OperationAborted: 'temporary',
  ConditionalRequestConflict: 'temporary',
  BadDigest: 'temporary',
  IncompleteBody: 'temporary',
  XAmzContentSHA256Mismatch: 'temporary',
  NotImplemented: 'unsupported',
  MethodNotAllowed: 'unsupported',
  AccessDenied: 'forbidden',
};

/** Understands an answer that is a failure, or the body of a 200 that tells of one. Pure. */
export function s3Refusal(status: number, headers: HttpResponse['headers'], body: string): Refusal {
  const code = text(body, 'Code') ?? '';
  const message = text(body, 'Message') ?? '';
  const said = [code, message].filter((part) => part !== '').join(': ');
  const region = headers['x-amz-bucket-region'];
  if (status === 301 || status === 307 || code === 'AuthorizationHeaderMalformed') {
    const right = typeof region === 'string' ? region : text(body, 'Region');
    return {
      trouble: 'other',
      said,
      hint:
        right === undefined
          ? 'The bucket is elsewhere: check region and endpoint_url.'
          : `The bucket is in ${right}: give region=${right}.`,
    };
  }
  const trouble = byCode[code] ?? byStatus(status);
  if (code === 'AccessDenied' || (code === '' && status === 403)) {
    return {
      trouble,
      said,
      hint: 'Check that the account may s3:GetObject, s3:PutObject and s3:ListBucket there (without the last, S3 says 403 of what is not there).',
    };
  }
  if (code === 'InvalidAccessKeyId' || code === 'SignatureDoesNotMatch') {
    return { trouble, said, hint: 'Check the access key and its secret.' };
  }
  return { trouble, said };
}

function byStatus(status: number): ObjectTrouble {
  if (status === 404) return 'not-found';
  if (status === 401 || status === 403) return 'forbidden';
  if (status === 429) return 'throttled';
  if (status === 405 || status === 501) return 'unsupported';
  return status === 408 || status >= 500 ? 'temporary' : 'other';
}
