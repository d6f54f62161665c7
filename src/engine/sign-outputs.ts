/** Signing of images that are built: from what a command or a program says to the attributes of outputs. */
import { randomUUID } from 'node:crypto';
import { fail } from '../errors/index.ts';
import { signSecrets } from '../exporter/index.ts';
import type { Session } from '../session/index.ts';
import type { OutputSpec } from './types.ts';

/** How the pushed images of a build are signed: with a key, or with the identity of a token. */
export interface SignOptions {
  /** A private key as PEM; also cosign's, which its password opens. */
  key?: string | Buffer;
  password?: string | Buffer;
  /** An OpenID Connect token, or a function that gets one when the image is there. */
  identityToken?: string | (() => Promise<string>);
  /** Fulcio, which certifies the token's identity; default: the public one. */
  fulcioUrl?: string;
  /** Rekor, the transparency log; default: the public one. */
  rekorUrl?: string;
  rekorVersion?: 1 | 2;
  /** A timestamp authority (RFC 3161). */
  timestampServerUrl?: string;
  /** False: no transparency log. */
  tlogUpload?: boolean;
  /** The public log may show the digest and who has signed, for good. */
  yes?: boolean;
  /** What to sign besides the digest. */
  annotations?: Readonly<Record<string, string>>;
  /** Also signs each image that an index lists. */
  recursive?: boolean;
}

/** The secrets of a signature: an id that nobody can guess → its value. */
type SigningSecrets = Record<string, () => Promise<Buffer>>;

/**
 * The outputs with the attributes that have their pushed images signed, and the secrets that these attributes name.
 * Throws `invalid` when no output is pushed. What the attributes say is checked by the exporter.
 */
export function signedOutputs(
  outputs: readonly OutputSpec[],
  sign: SignOptions,
): { outputs: OutputSpec[]; secrets: SigningSecrets } {
  const secrets: SigningSecrets = {};
  const secret = (value: string | Buffer | (() => Promise<string>)) => {
    const id = `sign-${randomUUID()}`;
    secrets[id] = async () => Buffer.from(typeof value === 'function' ? await value() : value);
    return id;
  };
  const attrs: Record<string, string> = {};
  const set = (name: string, value: string | number | boolean | undefined) => {
    if (value !== undefined) attrs[`sign-${name}`] = String(value);
  };
  if (sign.key !== undefined) set('key', secret(sign.key));
  if (sign.password !== undefined) set('password', secret(sign.password));
  if (sign.identityToken !== undefined) set('identity-token', secret(sign.identityToken));
  set('fulcio-url', sign.fulcioUrl);
  set('rekor-url', sign.rekorUrl);
  set('rekor-version', sign.rekorVersion);
  set('timestamp-server-url', sign.timestampServerUrl);
  set('tlog-upload', sign.tlogUpload);
  set('yes', sign.yes);
  set('recursive', sign.recursive);
  for (const [key, value] of Object.entries(sign.annotations ?? {})) set(`annotation.${key}`, value);
  const isPushed = ({ type, attrs: { push } }: OutputSpec) =>
    type === 'image' && push !== undefined && !/^(0|f|false)$/i.test(push);
  if (!outputs.some(isPushed)) {
    throw fail('invalid', 'client', 'no output is pushed, and a signature is in the registry', {
      hint: 'Push the image (--push), or sign it later: drydock sign.',
    });
  }
  return {
    outputs: outputs.map((output) =>
      isPushed(output) ? { ...output, attrs: { ...attrs, ...output.attrs } } : output,
    ),
    secrets,
  };
}

/** The session of a build whose steps see no secret that an output signs with, though they may know its id. */
export function withoutSigning(session: Session, outputs: readonly OutputSpec[]): Session {
  const hidden = new Set(outputs.flatMap(({ attrs }) => signSecrets(attrs)));
  if (hidden.size === 0) return session;
  return new Proxy(session, {
    get(target, name) {
      if (name === 'secret') return async (id: string) => (hidden.has(id) ? undefined : target.secret(id));
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
