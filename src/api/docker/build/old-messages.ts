/** Errors and warnings in the words of docker's old builder. Pure. */
import type { DrydockError } from '../../../errors/index.ts';
import { placeOf } from '../http/errors.ts';

/** A failed RUN in the words that scripts look for, without the step; undefined for other errors. */
export function runMessage(error: DrydockError): string | undefined {
  const { details, exitCode, source, hint } = error;
  if (exitCode === undefined || typeof details?.command !== 'string') return undefined;
  const place = source === undefined ? undefined : placeOf(source);
  const why = typeof details.memory === 'string' ? `: ${details.memory}` : '';
  const said = `The command '${details.command}' returned a non-zero code: ${exitCode}${why}`;
  return `${said}${place === undefined ? '' : ` (${place})`}${hint === undefined ? '' : `\nhint: ${hint}`}`;
}

/** A missing file of COPY or ADD in the words of docker's old builder; undefined for other errors. */
export function missingMessage({ code, hop, details, source, hint }: DrydockError): string | undefined {
  if (code !== 'not-found' || hop !== 'file') return undefined;
  const line = source?.text.split('\n')[(source.ranges[0]?.start.line ?? 0) - 1] ?? '';
  const [, kind, flags = ''] = /^\s*(copy|add)((?:\s+--\S+)*)\s/i.exec(line) ?? [];
  if (kind === undefined || source === undefined) return undefined;
  const failed = `${kind.toUpperCase()} failed`;
  if (typeof details?.pattern === 'string') {
    return `${failed}: no source files were specified (${placeOf(source)})`;
  }
  if (typeof details?.path !== 'string') return undefined;
  const where = flags.includes('--from=')
    ? ''
    : 'file not found in build context or excluded by .dockerignore: ';
  const said = `${failed}: ${where}stat ${details.path.slice(1)}: file does not exist`;
  return `${said} (${placeOf(source)})${hint === undefined ? '' : `\nhint: ${hint}`}`;
}

/** A warning for the text. docker's own warnings begin with that word already. */
export function asWarning(text: string): string {
  const at = text.indexOf('[Warning] ');
  return at < 0 ? `[Warning] ${text}` : text.slice(at);
}
