import { DrydockError, type SourceLocation } from '../../../errors/index.ts';
import { bytesOf } from '../../../linux/index.ts';
import type { DockerfileRequest, FrontendHost, LintWarning } from '../../types.ts';
import { type Examined, examineDockerfile } from '../frontend.ts';
import { type JsonLocation, jsonLocation } from './location.ts';

/** The findings of the build checks, and the error that keeps the Dockerfile from being converted, if there is one. */
export async function lintAnswer(
  request: DockerfileRequest,
  host: FrontendHost,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const check = { ...request, check: true };
  const {
    warnings = [],
    failure,
    violation,
  } = await examineDockerfile(check, host, signal).catch(
    (failure: unknown): Partial<Examined> => ({ failure }),
  );
  const error = failure ?? violation;
  // What is wrong elsewhere (no Dockerfile, no registry) is no finding.
  if (error !== undefined && (!(error instanceof DrydockError) || error.source === undefined)) throw error;
  const shown = warnings.map(
    ({ rule, url, message, location }) => `\nWARNING: ${rule} - ${url}\n${message}\n${excerpt(location)}`,
  );
  return {
    'result.json': JSON.stringify(lintResults(warnings, error), undefined, 2),
    'result.txt': shown.join(''),
    'result.statuscode': warnings.length > 0 || error !== undefined ? '1' : '0',
  };
}

/** Findings as clients read them; `error` keeps the Dockerfile from being built, and has a place in it. */
export function lintResults(warnings: readonly LintWarning[], error?: DrydockError): object {
  const sources = new Sources();
  // The place of the error is told first: it decides the order of the files.
  const buildError =
    error?.source === undefined
      ? undefined
      : { message: error.message, location: sources.locate(error.source) };
  const found = warnings.map(({ rule, description, url, message, location }) => ({
    ruleName: rule,
    description,
    url,
    detail: message,
    location: sources.locate(location),
  }));
  return { warnings: found, sources: sources.list, buildError };
}

/** The files that findings are in, each once. */
class Sources {
  readonly list: { filename: string; data: string; language: string }[] = [];

  locate(location: SourceLocation): JsonLocation {
    const data = bytesOf(location.text).toString('base64');
    let index = this.list.findIndex((each) => each.filename === location.filename && each.data === data);
    if (index < 0) index = this.list.push({ filename: location.filename, data, language: 'Dockerfile' }) - 1;
    return { ...(index === 0 ? {} : { sourceIndex: index }), ...jsonLocation(location.ranges) };
  }
}

/** The lines of a location, with some lines around them; '' when it has no line. */
function excerpt({ filename, text, ranges }: SourceLocation): string {
  const marked = new Set<number>();
  for (const { start, end } of ranges) {
    for (let n = start.line; n <= Math.max(start.line, end.line); n++) marked.add(n);
  }
  const lines = text.split('\n');
  const first = Math.min(...marked);
  const last = Math.min(Math.max(...marked), lines.length);
  if (marked.size === 0 || first < 1 || first > lines.length) return '';
  const around = first === last ? 2 : 1;
  const out: string[] = [];
  for (let n = Math.max(1, first - around); n <= Math.min(lines.length, last + around); n++) {
    out.push(` ${String(n).padStart(3)} | ${marked.has(n) ? '>>>' : '   '} ${lines[n - 1] ?? ''}`);
  }
  const rule = '--------------------';
  return `${filename}:${first}\n${rule}\n${out.join('\n')}\n${rule}\n`;
}
