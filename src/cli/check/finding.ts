import { checksVertex } from '../../engine/index.ts';
import type { LintWarning } from '../../frontend/index.ts';
import type { ProgressSink, WarningEvent } from '../../progress/index.ts';

/** The finding of a build check that a warning tells, as `warningEvent` words it; undefined: it is another warning. */
function findingOf({ vertex, short, detail, url = '', source }: WarningEvent): LintWarning | undefined {
  const [, rule, message] = /^(\w+): (.*?)(?: \(line \d+\))?$/s.exec(short) ?? [];
  if (vertex !== checksVertex || rule === undefined || message === undefined || source === undefined)
    return undefined;
  return { rule, message, description: detail.join('\n'), url, location: source };
}

/** A sink that passes everything on to another one, and tells findings of the checks to `tell` as well. */
export function telling(sink: ProgressSink, tell: (finding: LintWarning) => void): ProgressSink {
  return {
    ...sink,
    warning(event) {
      const finding = findingOf(event);
      if (finding !== undefined) tell(finding);
      sink.warning(event);
    },
  };
}
