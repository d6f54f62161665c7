import { fail } from '../errors/index.ts';
import type { Digest } from './types.ts';

/** A parsed and normalized image reference. */
export interface Reference {
  /** `docker.io`, `localhost:5000` */
  domain: string;
  /** `library/alpine` */
  path: string;
  tag?: string;
  digest?: Digest;
}

const domainPattern =
  /^(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::[0-9]+)?$|^\[[0-9a-fA-F:]+\](?::[0-9]+)?$/;
const pathPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[\w][\w.-]{0,127}$/;

/**
 * Parses `alpine`, `host:5000/a/b:tag@sha256:…` as docker does: without a domain it is on docker.io, and a one-part
 * path on docker.io gets `library/`. No tag is added. Throws `invalid`. Grammar:
 * https://github.com/distribution/reference
 */
export function parseReference(text: string): Reference {
  const bad = (why: string) =>
    fail('invalid', 'client', `invalid reference format: ${JSON.stringify(text)}: ${why}`);
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const d = rest.slice(at + 1);
    if (!/^sha256:[0-9a-f]{64}$/.test(d)) throw bad(`the digest must be sha256:<64 hex digits>`);
    digest = d as Digest;
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!tagPattern.test(tag)) throw bad(`the tag ${JSON.stringify(tag)} is not valid`);
  }
  if (rest === '') throw bad('the name is empty');
  const slash = rest.indexOf('/');
  const first = slash < 0 ? '' : rest.slice(0, slash);
  let domain = 'docker.io';
  let path = rest;
  if (slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase())) {
    domain = first === 'index.docker.io' ? 'docker.io' : first;
    path = rest.slice(slash + 1);
  }
  if (domain === 'docker.io' && !path.includes('/')) path = `library/${path}`;
  if (!domainPattern.test(domain)) throw bad(`the registry host ${JSON.stringify(domain)} is not valid`);
  if (!pathPattern.test(path)) {
    throw bad(
      path !== path.toLowerCase()
        ? 'repository name must be lowercase'
        : `the repository ${JSON.stringify(path)} is not valid`,
    );
  }
  if (`${domain}/${path}`.length > 255) throw bad('repository name must not be more than 255 characters');
  return { domain, path, tag, digest };
}

/** Writes a reference: `docker.io/library/alpine:3@sha256:…`. */
export function formatReference(ref: Reference): string {
  return `${ref.domain}/${ref.path}${ref.tag === undefined ? '' : `:${ref.tag}`}${ref.digest === undefined ? '' : `@${ref.digest}`}`;
}

/** The full name, with `:latest` when neither tag nor digest is given. Stores name images in this form. */
export function normalizeName(text: string): string {
  const ref = parseReference(text);
  if (ref.tag === undefined && ref.digest === undefined) ref.tag = 'latest';
  return formatReference(ref);
}

/** The short form that people write: `alpine:3` for `docker.io/library/alpine:3`. */
export function familiarName(name: string): string {
  return name.replace(/^docker\.io\/library\//, '').replace(/^docker\.io\//, '');
}
