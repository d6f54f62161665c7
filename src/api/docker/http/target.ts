/**
 * A request's target (RFC 9112, 3.2), taken apart in this one place: what is looked up, what is checked and what is
 * logged can be no two things. Pure.
 */
import { apiError } from './errors.ts';
import { splitVersion } from './version.ts';

export interface Target {
  /** Decoded, without the API version and without a slash at its end; `/images/team/app/json`. */
  path: string;
  /** The API version asked for, else the newest. */
  version: string;
  /** From the question mark on, as it came; '' without one. */
  search: string;
}

/**
 * Reads a target in origin form (`/v1.41/info?a=b`) or absolute form (`http://host/info`). Throws `invalid` for what
 * does not decode and for versions that we do not speak, `not-found` for a path that has other ways to be written
 * (`//`, `/./`, `/../`): nothing is served under two names.
 */
export function parseTarget(target: string): Target {
  const [, raw = '', search = ''] = /^(?:https?:\/\/[^/?#]*)?(\/[^?#]*)(\?.*)?$/is.exec(target) ?? [];
  if (raw === '') throw apiError('invalid', 'the request target is no path');
  let decoded: string;
  try {
    decoded = decodeURIComponent(raw);
  } catch {
    throw apiError('invalid', 'the request path has an escape sequence that is none');
  }
  const { path, version } = splitVersion(decoded);
  const short = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  const segments = short.slice(1).split('/');
  const unclean = segments.some((each) => each === '.' || each === '..' || (each === '' && short !== '/'));
  if (unclean || /[\0-\x1f\x7f]/.test(short)) throw apiError('not-found', 'page not found');
  return { path: short, version, search };
}

/** The path of a request for logs; what cannot be read is shown as it came. */
export function pathForLogs(target: string): string {
  try {
    return parseTarget(target).path;
  } catch {
    return target.replace(/[?#].*$/s, '');
  }
}
