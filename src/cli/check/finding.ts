import { checksVertex } from '../../engine/index.ts';
import type { LintWarning } from '../../frontend/index.ts';
import type { WarningEvent } from '../../progress/index.ts';

/** The finding of a build check that a warning tells, as `warningEvent` words it; undefined: it is another warning. */
export function findingOf({
  vertex,
  short,
  detail,
  url = '',
  source,
}: WarningEvent): LintWarning | undefined {
  const [, rule, message] = /^(\w+): (.*?)(?: \(line \d+\))?$/s.exec(short) ?? [];
  if (vertex !== checksVertex || rule === undefined || message === undefined || source === undefined)
    return undefined;
  return { rule, message, description: detail.join('\n'), url, location: source };
}
