/** How an image is signed, as commands and outputs say it. Pure. */
import { fail } from '../errors/index.ts';

/** The public services of sigstore, which keep what they are told for all to see. */
const publicFulcio = 'https://fulcio.sigstore.dev';
const publicRekor = 'https://rekor.sigstore.dev';

/** The services that take part in a signature. */
export interface SigningServices {
  /** Fulcio, which certifies the key of a token's identity. */
  fulcioUrl: string;
  /** Rekor, the transparency log; undefined: the signature is in no log. */
  rekorUrl?: string;
  rekorVersion: 1 | 2;
  /** A timestamp authority (RFC 3161). */
  timestampUrl?: string;
}

/** What is said of the services; everything has a default. */
interface ServiceOptions {
  fulcioUrl?: string;
  rekorUrl?: string;
  rekorVersion?: string;
  timestampUrl?: string;
  /** False: no transparency log. */
  tlogUpload?: boolean;
  /** The signer knows that the public log keeps the entry for all to see. */
  yes?: boolean;
}

/**
 * The services to sign with. Throws `invalid` for a URL that is none, for a signature by a token that nothing would
 * date, and when the public log would be written to and nobody has agreed to it.
 */
export function servicesOf(options: ServiceOptions, byToken: boolean): SigningServices {
  const { tlogUpload = true, timestampUrl, rekorVersion = '1' } = options;
  for (const url of [options.fulcioUrl, options.rekorUrl, timestampUrl]) checkUrl(url);
  if (rekorVersion !== '1' && rekorVersion !== '2') {
    throw fail('invalid', 'client', `there is no Rekor of version ${JSON.stringify(rekorVersion)}`, {
      hint: 'Versions: 1, 2.',
    });
  }
  if (!tlogUpload && options.rekorUrl !== undefined) {
    throw fail('invalid', 'client', 'a Rekor is named, and no entry in its log is wanted', {
      hint: 'Leave out --rekor-url, or --tlog-upload=false.',
    });
  }
  const dated = timestampUrl !== undefined;
  if (byToken && !dated && (!tlogUpload || rekorVersion === '2')) {
    throw fail(
      'invalid',
      'client',
      'a certificate of Fulcio is valid for minutes, and nothing would say when it signed',
      {
        hint: 'Name a timestamp authority (--timestamp-server-url), or have Rekor (version 1) note the signature.',
      },
    );
  }
  const fulcioUrl = options.fulcioUrl ?? publicFulcio;
  const rekorUrl = tlogUpload ? (options.rekorUrl ?? publicRekor) : undefined;
  const shown = [...(byToken ? [fulcioUrl] : []), ...(rekorUrl === undefined ? [] : [rekorUrl])].filter(
    (url) => isPublic(url),
  );
  if (shown.length > 0 && options.yes !== true) {
    throw fail(
      'invalid',
      'client',
      `this would write to the public log at ${new URL(shown[0] as string).host}, for all to see and for good: the image's digest and ${byToken ? 'the identity of the token' : 'the public key'}`,
      {
        hint: byToken
          ? 'Say --yes if that is meant, or name services of your own (--fulcio-url, --rekor-url).'
          : 'Say --yes if that is meant, --tlog-upload=false for no log, or --rekor-url for another one.',
      },
    );
  }
  return { fulcioUrl, rekorUrl, rekorVersion: rekorVersion === '2' ? 2 : 1, timestampUrl };
}

function isPublic(url: string): boolean {
  return /(^|\.)sigstore\.dev$/.test(new URL(url).hostname);
}

function checkUrl(url: string | undefined): void {
  if (url === undefined || (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))) return;
  throw fail('invalid', 'client', `${JSON.stringify(url)} is no http(s) URL`);
}
