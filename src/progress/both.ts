import type { ProgressSink } from './events.ts';

/** A sink that passes everything on to two others. */
export function both(one: ProgressSink, other: ProgressSink): Required<ProgressSink> {
  return {
    vertex(event) {
      one.vertex(event);
      other.vertex(event);
    },
    status(event) {
      one.status(event);
      other.status(event);
    },
    log(event) {
      one.log(event);
      other.log(event);
    },
    warning(event) {
      one.warning(event);
      other.warning(event);
    },
    usage(event) {
      one.usage?.(event);
      other.usage?.(event);
    },
    network(event) {
      one.network?.(event);
      other.network?.(event);
    },
    sources(event) {
      one.sources?.(event);
      other.sources?.(event);
    },
  };
}
