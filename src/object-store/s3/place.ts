/** The URLs of a bucket. Pure. */
import { fail } from '../../errors/index.ts';
import { keyPath } from '../keys.ts';

export interface BucketPlace {
  bucket: string;
  region: string;
  /** The service's URL, for others than AWS; it may have a path. */
  endpoint?: string;
  /** The bucket's name in the path, rather than in the host's name. */
  pathStyle?: boolean;
}

/** Throws `invalid` for a name that is no bucket's, or an endpoint that is no HTTP URL. */
export function bucketUrl({
  bucket,
  region,
  endpoint,
  pathStyle = false,
}: BucketPlace): (key: string) => URL {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(bucket)) {
    throw fail('invalid', 'bucket', `${JSON.stringify(bucket)} is no name of a bucket`);
  }
  if (!/^[A-Za-z0-9-]{1,60}$/.test(region)) {
    throw fail('invalid', 'bucket', `${JSON.stringify(region)} is no region`);
  }
  const url = endpointUrl(
    endpoint ?? `https://s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`,
  );
  const base = url.pathname.replace(/\/$/, '');
  // A certificate for *.s3.… is not for names with more dots.
  const inPath = pathStyle || (endpoint === undefined && bucket.includes('.'));
  return (key) => {
    const made = new URL(url);
    if (inPath) made.pathname = `${base}/${bucket}/${keyPath(key)}`;
    else {
      made.hostname = `${bucket}.${url.hostname}`;
      made.pathname = `${base}/${keyPath(key)}`;
    }
    return made;
  };
}

function endpointUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isFine =
    (url?.protocol === 'https:' || url?.protocol === 'http:') &&
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === '';
  if (url !== undefined && isFine) return url;
  throw fail('invalid', 'bucket', 'the endpoint is not the URL of an S3 service', {
    hint: 'Such as https://minio.example:9000, without a user and a query.',
  });
}
