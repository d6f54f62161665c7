import type { LintWarning } from '../../frontend/index.ts';
import { digestOf } from '../../oci/index.ts';
import type { WarningEvent } from '../../progress/index.ts';

/** What the findings of build checks are told under: no step's vertex. */
export const checksVertex = digestOf('[internal] build checks');

/** A finding of the build checks as progress shows it. */
export function warningEvent(warning: LintWarning): WarningEvent {
  const line = warning.location.ranges[0]?.start.line;
  return {
    vertex: checksVertex,
    level: 1,
    short: `${warning.rule}: ${warning.message}${line === undefined ? '' : ` (line ${line})`}`,
    detail: [warning.description],
    url: warning.url,
    source: warning.location,
  };
}
