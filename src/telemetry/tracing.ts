/** Spans of an engine's builds. What it takes is loaded with the first of them. */
import type { BuildSpans } from './build-spans.ts';
import type { Span } from './encode.ts';
import type { TraceExporter } from './exporter.ts';
import { type TraceSettings, traceSettings } from './settings.ts';
import { parseTraceparent } from './traceparent.ts';

/** The way of spans out of an engine. */
export class Tracing {
  readonly #settings: TraceSettings;
  readonly #say: (text: string) => void;
  #exporter: Promise<TraceExporter> | undefined;

  constructor(settings: TraceSettings, say: (text: string) => void) {
    this.#settings = settings;
    this.#say = say;
  }

  /**
   * Begins the span of a build. `traceparent` names the client's span, which is its parent; undefined is returned when the
   * client's trace is not kept.
   */
  async begin(
    traceparent: string | undefined,
    attributes: Span['attributes'],
  ): Promise<BuildSpans | undefined> {
    const parent = parseTraceparent(traceparent);
    if (parent?.sampled === false) return undefined;
    const [exporter, { buildSpans }] = await Promise.all([this.#load(), import('./build-spans.ts')]);
    return buildSpans(parent, attributes, (spans) => exporter.add(spans));
  }

  /** Passes on spans of a client, each a ResourceSpans in protobuf. */
  passOn(resourceSpans: readonly Uint8Array[]): void {
    void this.#load().then((exporter) => exporter.passOn(resourceSpans));
  }

  /** Sends what is left; takes 2 s at most. */
  async close(): Promise<void> {
    await (await this.#exporter)?.close();
  }

  #load(): Promise<TraceExporter> {
    this.#exporter ??= import('./exporter.ts').then(
      ({ TraceExporter: Exporter }) => new Exporter(this.#settings, this.#say),
    );
    return this.#exporter;
  }
}

/**
 * The tracing that the environment asks for, if any. A variable with a wrong value is told, and there are no spans: builds
 * do not fail for them.
 */
export function tracingFromEnv(env: NodeJS.ProcessEnv, say: (text: string) => void): Tracing | undefined {
  try {
    const settings = traceSettings(env);
    return settings && new Tracing(settings, say);
  } catch (err) {
    say(`there are no spans: ${(err as Error).message}`);
    return undefined;
  }
}
