/** The progress that a build reports of its vertices, and how often. */
export { both } from './both.ts';
export { boundProgress } from './bound.ts';
export { canceledText, saysCanceled } from './canceled.ts';
export type {
  LogEvent,
  NetworkEvent,
  ProgressSink,
  ReportStatus,
  SourcesEvent,
  StatusEvent,
  UsageEvent,
  VertexEvent,
  VertexProgress,
  WarningEvent,
} from './events.ts';
export { forwarding } from './forwarding.ts';
export { now } from './now.ts';
export { type UsedSum, usedSum } from './step-use.ts';
export type {
  MachineCpu,
  MachineSample,
  MemoryNumber,
  NetworkUse,
  Pressure,
  PressureValues,
  StepUsage,
  UsageSample,
} from './usage.ts';
