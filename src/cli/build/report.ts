import type { LintWarning } from '../../frontend/index.ts';
import { excerpt } from '../error-text.ts';

/** The lines after a build with findings: one for each, as `warningEvent` words it. */
export function warningSummary(findings: readonly string[]): string {
  if (findings.length === 0) return '';
  const head = `\n ${findings.length} warning${findings.length === 1 ? '' : 's'} found (run with --check for the details):\n`;
  return head + findings.map((finding) => ` - ${finding}\n`).join('');
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
