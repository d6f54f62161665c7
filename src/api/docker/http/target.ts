/**
 * Takes the target of a request (RFC 9112, 3.2) apart, in this one place, so that the path that is looked up, the path
 * that is checked and the path that is logged cannot differ. Pure.
 */
import { apiError } from './errors.ts';
import { splitVersion } from './version.ts';

/** The parts of a request's target. */
export interface Target {
  /** The decoded path, without the API version and without a slash at its end: `/images/team/app/json`. */
  path: string;
  /** The API version that is asked for, or else the newest. */
  version: string;
  /** The query with its question mark, as it came; '' without one. */
  search: string;
}

/**
 * Reads a target in origin form (`/v1.41/info?a=b`) or absolute form (`http://host/info`). Throws `invalid` for one
 * that does not decode and for a version that is not spoken here, and `not-found` for a path that can be written in
 * another way (`//`, `/./`, `/../`): nothing is served under two names.
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

/** The path of a request for logs. A target that cannot be read is returned as it came. */
export function pathForLogs(target: string): string {
  try {
    return parseTarget(target).path;
  } catch {
    return target.replace(/[?#].*$/s, '');
  }
}
