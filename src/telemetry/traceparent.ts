/** The place of a span among others, as it is handed on: https://www.w3.org/TR/trace-context/. Pure. */

/** A trace, and the span in it that is the parent of ours. */
export interface Parent {
  traceId: string;
  spanId: string;
  /** Whether whoever began the trace keeps its spans. */
  sampled: boolean;
}

/** Reads a `traceparent`; undefined for a text that is none. */
export function parseTraceparent(text: string | null | undefined): Parent | undefined {
  const [, version, traceId, spanId, flags] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/.exec(text?.trim() ?? '') ?? [];
  if (version === undefined || version === 'ff' || traceId === undefined || spanId === undefined)
    return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags as string, 16) & 1) === 1 };
}
