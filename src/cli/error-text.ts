/** An error as the terminal shows it: log tail, Dockerfile excerpt, message with its causes, hint. */
import { DrydockError, maskUrls, type SourceLocation } from '../errors/index.ts';
import { inert } from '../words/index.ts';

/** Several lines, each ended by \n; the last says what to do, when we know. */
export function errorText(error: DrydockError, prefix = 'ERROR: '): string {
  const out: string[] = [];
  if (error.logTail !== undefined && error.step !== undefined) {
    out.push('------', ` > ${inert(error.step)}:`, ...error.logTail, '------');
  }
  if (error.source !== undefined) out.push(...excerpt(error.source));
  out.push(`${prefix}${inert(sentence(error))}`);
  const where: string[] = [];
  if (error.hop !== undefined && !['client', 'exec', 'dockerfile'].includes(error.hop))
    where.push(`hop: ${error.hop}`);
  if (error.step !== undefined && error.logTail === undefined) where.push(`step: ${inert(error.step)}`);
  if (where.length > 0) out.push(`  at ${where.join(', ')}`);
  if (error.hint !== undefined) out.push(`  hint: ${inert(error.hint)}`);
  return out.map((line) => `${line}\n`).join('');
}

/** The message, then each cause that adds something. Terminals of CI are read by many: passwords in URLs are masked. */
function sentence(error: DrydockError): string {
  let text = error.message;
  let cause = error.cause;
  for (let depth = 0; cause instanceof Error && depth < 5; depth++) {
    if (cause.message !== '' && !text.includes(cause.message)) text += `: ${cause.message}`;
    cause = cause instanceof DrydockError || cause instanceof Error ? cause.cause : undefined;
  }
  return maskUrls(text);
}

/** The lines around the ranges, the guilty ones marked. */
export function excerpt({ filename, text, ranges }: SourceLocation, context = 2): string[] {
  const first = Math.min(...ranges.map((range) => range.start.line));
  const last = Math.max(...ranges.map((range) => range.end.line));
  if (!Number.isFinite(first) || first < 1) return [];
  const lines = text.split(/\r?\n/);
  const from = Math.max(1, first - context);
  const to = Math.min(lines.length, last + context);
  const rule = '-'.repeat(20);
  const marked = (n: number) => ranges.some((range) => n >= range.start.line && n <= range.end.line);
  const rows: string[] = [];
  for (let n = from; n <= to; n++) {
    const line = `${String(n).padStart(4)} | ${marked(n) ? '>>> ' : '    '}${inert(lines[n - 1] ?? '')}`;
    rows.push(line.trimEnd());
  }
  return [`${inert(filename)}:${first}`, rule, ...rows, rule];
}
