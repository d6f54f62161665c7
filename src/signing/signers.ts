/** The signers that one may want, as commands and policies name them. */
import type { KeyObject } from 'node:crypto';
import type { TrustMaterial } from '@sigstore/verify';
import { fail } from '../errors/index.ts';
import { Regex } from '../patterns/index.ts';
import type { WantedSigner } from './verify-image.ts';

/** One of the keys has signed. Without `roots` no entry in a log is asked for. */
export function keySigner(
  name: string,
  keys: readonly KeyObject[],
  roots: TrustMaterial | undefined,
): WantedSigner {
  const trust = { keys, roots, ignoreTlog: roots === undefined };
  return { name, trust, accepts: ({ kind }) => kind === 'key' };
}

/** Says whether a text is the wanted one, and what is wanted. */
interface TextTest {
  shown: string;
  test(text: string): boolean;
}

/** The very text. */
export function exactly(text: string): TextTest {
  return { shown: text, test: (other) => other === text };
}

/** A regular expression of Go's, which may match any part of a text, as in cosign. Throws `invalid`. */
export function matching(source: string): TextTest {
  let regex: Regex;
  try {
    regex = new Regex(source);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw fail('invalid', 'client', `${JSON.stringify(source)} is no regular expression: ${why}`, { cause });
  }
  return { shown: `/${source}/`, test: (text) => regex.test(text) };
}

/** The identity of a certificate has signed. */
export function identitySigner(
  identity: TextTest,
  issuer: TextTest,
  roots: TrustMaterial,
  ignoreTlog: boolean,
): WantedSigner {
  return {
    name: `${identity.shown} (of ${issuer.shown})`,
    trust: { keys: [], roots, ignoreTlog },
    accepts: (by) => by.kind === 'identity' && identity.test(by.identity) && issuer.test(by.issuer),
  };
}
