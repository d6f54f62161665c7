import type { LintWarning } from '../../frontend/types.ts';
import { excerpt } from '../error-text.ts';

/** The lines after a build that found something: one per finding. */
export function warningSummary(warnings: readonly LintWarning[]): string {
  if (warnings.length === 0) return '';
  const head = `\n ${warnings.length} warning${warnings.length === 1 ? '' : 's'} found (run with --check for the details):\n`;
  return (
    head + warnings.map((warning) => ` - ${warning.rule}: ${warning.message}${line(warning)}\n`).join('')
  );
}

/** `drydock build --check`: each finding with its excerpt and the page that explains it. */
export function checkReport(warnings: readonly LintWarning[]): string {
  if (warnings.length === 0) return 'Check complete, no warnings found.\n';
  const head = `Check complete, ${warnings.length} warning${warnings.length === 1 ? ' has' : 's have'} been found!\n`;
  return head + warnings.map(finding).join('');
}

function finding({ rule, url, description, message, location }: LintWarning): string {
  const shown = excerpt(location)
    .map((row) => `${row}\n`)
    .join('');
  return `\nWARNING: ${rule} - ${url}\n${description}: ${message}\n\n${shown}`;
}

function line({ location }: LintWarning): string {
  const first = location.ranges[0]?.start.line;
  return first === undefined ? '' : ` (line ${first})`;
}
