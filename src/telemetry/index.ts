/** Spans of builds and their steps, sent to a receiver of OpenTelemetry's. */
export { parseTraceparent } from './traceparent.ts';
export { type Tracing, tracingFromEnv } from './tracing.ts';
