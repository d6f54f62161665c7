import type { LintWarning } from '../../frontend/index.ts';
import { digestOf } from '../../oci/index.ts';
import type { WarningEvent } from '../../progress/index.ts';

/** The vertex that findings of build checks are shown under. It is no step's. */
export const checksVertex = digestOf('[internal] build checks');

/** A finding of the build checks, in the form in which progress shows it. */
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
