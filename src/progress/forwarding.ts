import type { ProgressSink } from './events.ts';

/**
 * A sink that passes everything on to another one. A sink that changes or notes some of the events is made of it:
 *
 *     const sink = { ...forwarding(below), warning: (event) => found.push(event) };
 */
export function forwarding(sink: ProgressSink): Required<ProgressSink> {
  return {
    vertex: (event) => sink.vertex(event),
    status: (event) => sink.status(event),
    log: (event) => sink.log(event),
    warning: (event) => sink.warning(event),
    usage: (event) => sink.usage?.(event),
    network: (event) => sink.network?.(event),
    sources: (event) => sink.sources?.(event),
  };
}
