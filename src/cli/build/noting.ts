import { checksVertex } from '../../engine/index.ts';
import { forwarding, type ProgressSink } from '../../progress/index.ts';

/** A sink that also notes the findings of the build checks: a build that fails has no result with them. */
export function noting(findings: string[], sink: ProgressSink, explains: boolean): ProgressSink {
  return {
    ...forwarding(sink),
    log(event) {
      // A daemon elsewhere says why steps run as it is set; here it may not be wanted.
      if (explains || event.explains !== true) sink.log(event);
    },
    warning(event) {
      if (event.vertex === checksVertex) findings.push(event.short);
      sink.warning(event);
    },
  };
}
