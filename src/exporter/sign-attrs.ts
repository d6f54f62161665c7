/**
 * The attributes by which an output has its image signed in the registry: `sign-key=SECRET` … Keys and tokens are
 * secrets of the build, and the attributes name them. Pure.
 */
import { fail, nearest } from '../errors/index.ts';
import { servicesOf } from '../signing/index.ts';

/** What a signature needs; `key`, `password` and `token` are the ids of secrets. */
export interface SignAttrs {
  key?: string;
  password?: string;
  token?: string;
  services: ReturnType<typeof servicesOf>;
  annotations: Record<string, string>;
  recursive: boolean;
}

const prefix = 'sign-';
const annotation = 'sign-annotation.';

/** The attributes, by their names without `sign-`. */
const names = [
  'key',
  'password',
  'identity-token',
  'fulcio-url',
  'rekor-url',
  'rekor-version',
  'timestamp-server-url',
  'tlog-upload',
  'recursive',
  'yes',
] as const;

/** Whether an attribute is about signing. */
export function isSignAttr(name: string): boolean {
  return name.startsWith(prefix);
}

/**
 * Reads them; undefined when there are none. `yes` reads a truth value of an attribute. Throws `invalid` for those that
 * there are not, and for a signature that could not be made.
 */
export function readSignAttrs(
  attrs: Readonly<Record<string, string>>,
  yes: (name: string) => boolean | undefined,
): SignAttrs | undefined {
  const given = Object.keys(attrs).filter(isSignAttr);
  if (given.length === 0) return undefined;
  const annotations: Record<string, string> = {};
  for (const name of given) {
    if (name.startsWith(annotation)) annotations[name.slice(annotation.length)] = attrs[name] as string;
    else if (!names.some((known) => name === `${prefix}${known}`)) throw unknown(name);
  }
  const text = (name: (typeof names)[number]) => attrs[`${prefix}${name}`] || undefined;
  const [key, token] = [text('key'), text('identity-token')];
  if ((key === undefined) === (token === undefined)) {
    throw fail(
      'invalid',
      'export',
      'an image is signed with sign-key or with sign-identity-token, and one of them',
      {
        hint: 'Each names a secret of the build (--secret id=…) that has the key or the token.',
      },
    );
  }
  if (!yes('push')) {
    throw fail(
      'invalid',
      'export',
      'an image that is not pushed cannot be signed: signatures are in the registry',
      {
        hint: 'Push it (--push, push=true), or sign it later: drydock sign.',
      },
    );
  }
  const services = servicesOf(
    {
      fulcioUrl: text('fulcio-url'),
      rekorUrl: text('rekor-url'),
      rekorVersion: text('rekor-version'),
      timestampUrl: text('timestamp-server-url'),
      tlogUpload: yes('sign-tlog-upload'),
      yes: yes('sign-yes'),
    },
    token !== undefined,
  );
  return {
    key,
    password: text('password'),
    token,
    services,
    annotations,
    recursive: yes('sign-recursive') ?? false,
  };
}

/** The secrets that attributes of an output name for its signature. */
export function signSecrets(attrs: Readonly<Record<string, string>>): string[] {
  return ['key', 'password', 'identity-token'].flatMap((name) => attrs[`${prefix}${name}`] || []);
}

function unknown(name: string) {
  const known = names.map((each) => `${prefix}${each}`);
  const near = nearest(name, known);
  return fail('invalid', 'export', `output type=image has no attribute ${JSON.stringify(name)}`, {
    hint: near === undefined ? `Attributes: ${known.join(', ')}, ${annotation}KEY.` : `Did you mean ${near}?`,
  });
}
