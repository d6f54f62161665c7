/** The spans of one build: its own, and one for each of its steps. */
import { randomBytes } from 'node:crypto';
import { maskUrls } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import type { ProgressSink, VertexEvent } from '../progress/index.ts';
import { internal, type Span, server } from './encode.ts';
import type { Parent } from './traceparent.ts';

/** The most steps of a build that have spans. */
const maxSteps = 4000;
/** The longest name or message of a span. */
const maxText = 1024;

/** A build's spans while it runs. */
export interface BuildSpans {
  /** Sees the build's events. */
  sink: ProgressSink;
  /** Ends the build's own span; `error` is why it failed. */
  end(error?: unknown): void;
}

/** Begins the span of a build; `take` gets each span as it ends. */
export function buildSpans(
  parent: Parent | undefined,
  attributes: Span['attributes'],
  take: (spans: readonly Span[]) => void,
): BuildSpans {
  const traceId = parent?.traceId ?? randomBytes(16).toString('hex');
  const own = randomBytes(8).toString('hex');
  const startedAt = Date.now();
  const begun = new Map<Digest, number>();
  const [seen, cached] = [new Set<Digest>(), new Set<Digest>()];
  const nothing = () => {};
  return {
    sink: { vertex, status: nothing, log: nothing, warning: nothing },
    end(error) {
      const failed =
        error === undefined ? undefined : textOf(error instanceof Error ? error.message : String(error));
      take([
        {
          traceId,
          spanId: own,
          ...(parent && { parentId: parent.spanId }),
          name: 'build',
          kind: server,
          started: startedAt,
          completed: Date.now(),
          attributes: { ...attributes, 'drydock.steps': seen.size, 'drydock.steps.cached': cached.size },
          ...(failed !== undefined && { error: failed }),
        },
      ]);
    },
  };

  function vertex({ digest, name, started, completed, cached: isCached, error }: VertexEvent): void {
    if (started !== undefined) begun.set(digest, started);
    if (completed === undefined) return;
    const from = begun.get(digest);
    begun.delete(digest);
    if (from === undefined || seen.size >= maxSteps) return;
    seen.add(digest);
    if (isCached) cached.add(digest);
    take([
      {
        traceId,
        spanId: randomBytes(8).toString('hex'),
        parentId: own,
        name: textOf(name),
        kind: internal,
        started: from,
        completed: Math.max(from, completed),
        attributes: { 'drydock.vertex': digest, 'drydock.cached': isCached ?? false },
        ...(error && { error: textOf(error) }),
      },
    ]);
  }
}

function textOf(text: string): string {
  return maskUrls(text).slice(0, maxText).toWellFormed();
}
