/**
 * Keeps passwords out of everything that is written down: records, traces, logs. A build itself gets its values
 * unmasked. Pure. Masking takes time linear in the text, which strangers may have written.
 */

/** The text in place of a secret, as in BuildKit. */
export const hidden = 'xxxxx';

/** Shorter values are masked only where they stand with their name, not wherever the same letters occur. */
const minLength = 4;
const minToken = 16;
/** The largest number of secrets searched for in a text; a build with more has its texts masked whole. */
const maxSecrets = 64;

const words = /token|passw|pword|passphrase|secret|credential|key$/i;
const parts = /(?:^|[_.-])(?:key|auth|pass|pwd|pw)s?(?:[_.-]|$)/i;

/** Options of BuildKit's Dockerfile frontend whose values are names of other options. */
const plain = new Set(['contextkey', 'dockerfilekey']);

/** Whether a variable, argument or attribute of this name is likely to hold a secret: `NPM_TOKEN`, `DB_PASSWORD`. */
export function looksSecret(name: string): boolean {
  if (plain.has(name)) return false;
  return words.test(name) || parts.test(name);
}

/** The user info before the host in a URL; in ssh URLs, where a plain name is common, only with a password. */
const userInfo = /:\/\/([^\s/?#"'<>`]*)@/g;
/** The field of a signed URL that lets its bearer in: `X-Amz-Signature`, `sig`. */
const signature = /(?:^|[_.-])sig(?:nature)?$/i;
const queryField = /([?&])([\w.-]{1,64})=([^&\s"'<>#]*)/g;

/**
 * Masks user and password in all URLs of a text, and query fields that look secret. `mask` makes the replacement; by
 * default each part of user and password becomes `xxxxx`.
 */
export function maskUrls(text: string, mask = (secret: string) => secret.replace(/[^:]+/g, hidden)): string {
  if (!text.includes('://')) return text;
  return text
    .replace(userInfo, (all, info: string, at: number) =>
      info === '' || isPlainUser(text, info, at) ? all : `://${mask(info)}@`,
    )
    .replace(queryField, (all, before: string, name: string, value: string) =>
      (looksSecret(name) || signature.test(name)) && value !== '' ? `${before}${name}=${mask(value)}` : all,
    );
}

function isPlainUser(text: string, info: string, at: number): boolean {
  return !info.includes(':') && text.slice(Math.max(0, at - 3), at).toLowerCase() === 'ssh';
}

/** The secrets of one build. They are recognized by their names and by their places in URLs. */
export class Masks {
  /** Longest first, so that nothing is left over of a secret that contains another. */
  readonly #secrets: readonly string[];

  /** `given`: values with their names (`build-arg:TOKEN`, `HTTP_PROXY`). */
  constructor(given: Iterable<readonly [name: string, value: string]>) {
    const found = new Set<string>();
    for (const [name, value] of given) {
      if (looksSecret(name)) {
        found.add(value);
        for (const line of value.split('\n')) found.add(line.trim());
      }
      for (const [, info = ''] of value.matchAll(userInfo)) {
        const [user = '', ...rest] = info.split(':');
        const password = rest.join(':');
        found.add(password).add(decoded(password));
        // A token may stand in place of a user's name; a name is short.
        if (user.length >= minToken) found.add(user);
      }
    }
    this.#secrets = [...found]
      .filter((secret) => secret.length >= minLength)
      .sort((a, b) => b.length - a.length);
  }

  /** Returns a text without the secrets. */
  text(text: string): string {
    if (this.#isTooMany && text !== '') return hidden;
    let masked = text;
    for (const secret of this.#secrets) masked = replaceOutsideDigests(masked, secret, () => hidden);
    return maskUrls(masked);
  }

  get #isTooMany(): boolean {
    return this.#secrets.length > maxSecrets;
  }

  /** Masks the whole value of each attribute whose name looks secret. */
  attrs(attrs: Readonly<Record<string, string>>): Record<string, string> {
    const masked = Object.entries(attrs).map(([name, value]): [string, string] => [
      name,
      looksSecret(name) && value !== '' ? hidden : this.text(value),
    ]);
    return Object.fromEntries(masked);
  }

  /** Returns a step's output without the secrets, at the same length. */
  bytes(data: Uint8Array): Uint8Array<ArrayBuffer> {
    if (this.#isTooMany) return Buffer.alloc(data.length, 'x');
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
    if (this.#secrets.length === 0 && !bytes.includes('://')) return Buffer.from(bytes);
    const text = bytes.toString('latin1');
    let masked = text;
    for (const secret of this.#secrets) {
      masked = replaceOutsideDigests(masked, latin1(secret), (found) => 'x'.repeat(found.length));
    }
    masked = maskUrls(masked, (secret) => secret.replace(/[^:]/g, 'x'));
    return Buffer.from(masked, 'latin1');
  }
}

/** A secret like `cafe` must not be masked inside a digest. */
function replaceOutsideDigests(text: string, secret: string, by: (found: string) => string): string {
  if (!text.includes(secret)) return text;
  return text
    .split(/(sha256:[0-9a-f]{64})/)
    .map((part, i) => (i % 2 === 1 ? part : part.replaceAll(secret, () => by(secret))))
    .join('');
}

function latin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
