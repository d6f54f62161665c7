/** The options of build checks: `skip=A,B;error=true;experimental=C`, in a directive, a comment or a build arg. */
import { parseBool } from '../../../words/index.ts';
import type { CheckDirective } from '../ast.ts';
import { invalid } from './errors.ts';

function list(value: string): { names: string[]; all: boolean } {
  if (value === 'all') return { names: [], all: true };
  return { names: value.split(',').map((name) => name.trim()), all: false };
}

/** Reads check options; '' gives the defaults. Throws `invalid` on an unknown option or a bad boolean. */
export function parseCheckOptions(text: string): CheckDirective {
  const options: CheckDirective = {
    skip: [],
    skipAll: false,
    error: false,
    experimental: [],
    experimentalAll: false,
  };
  if (text.trim() === '') return options;
  for (const part of text.trim().split(';')) {
    const equals = part.indexOf('=');
    const key = (equals < 0 ? part : part.slice(0, equals)).trim();
    const value = part.slice(equals + 1).trim();
    const hint =
      'Checks take skip=<names or all>, error=<true or false> and experimental=<names or all>, joined by ;';
    if (equals < 0) throw invalid(`invalid check option ${JSON.stringify(part)}`, hint);
    if (key === 'skip') {
      const { names, all } = list(value);
      options.skip = names;
      options.skipAll = all;
    } else if (key === 'experimental') {
      const { names, all } = list(value);
      options.experimental = names;
      options.experimentalAll = all;
    } else if (key === 'error') {
      const on = parseBool(value);
      if (on === undefined)
        throw invalid(`failed to parse check option ${JSON.stringify(part)}: not a boolean`, hint);
      options.error = on;
    } else throw invalid(`invalid check option ${JSON.stringify(key)}`, hint);
  }
  return options;
}

/**
 * The check options in the comments above an instruction; undefined when there are none. Malformed ones are comments
 * like any other.
 */
export function checkInComments(comments: string[]): CheckDirective | undefined {
  for (const comment of comments) {
    const match = /^check\s*=\s*(\S.*)$/i.exec(comment);
    if (match === null) continue;
    try {
      return parseCheckOptions(match[1]!.split(' ', 1)[0]!);
    } catch {
      return undefined;
    }
  }
  return undefined;
}
