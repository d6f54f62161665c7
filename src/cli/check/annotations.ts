/** The workflow commands that GitHub's runners make annotations of. Pure. */
import type { SourceLocation } from '../../errors/index.ts';
import { type CheckOutcome, failureRule, linesOf, shownPath } from './outcome.ts';

/** A command on each line; what several targets have alike is told once. */
export function annotations(outcomes: readonly CheckOutcome[]): string {
  return [...new Set(outcomes.flatMap(commandsOf))].map((line) => `${line}\n`).join('');
}

function commandsOf(outcome: CheckOutcome): string[] {
  const { warnings, failure } = outcome;
  const lines = warnings.map(({ rule, message, url, location }) =>
    command('warning', rule, url === '' ? message : `${message} (${url})`, location, outcome),
  );
  if (failure !== undefined)
    lines.push(command('error', failureRule, failure.message, failure.source, outcome));
  return lines;
}

function command(
  level: string,
  title: string,
  message: string,
  location: SourceLocation | undefined,
  outcome: CheckOutcome,
): string {
  const fields: [string, string][] = [];
  if (location !== undefined) {
    const { first, last } = linesOf(location);
    fields.push(['file', shownPath(location, outcome)]);
    if (first > 0) fields.push(['line', String(first)], ['endLine', String(last)]);
  }
  fields.push(['title', title]);
  const shown = fields.map(([name, value]) => `${name}=${escapeField(value)}`).join(',');
  return `::${level} ${shown}::${escapeData(message)}`;
}

function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function escapeField(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
