/** The progress that a build reports of its vertices, and how often. */
export { boundProgress, canceledText, now } from './bound.ts';
export type {
  LogEvent,
  NetworkEvent,
  ProgressSink,
  ReportStatus,
  StatusEvent,
  UsageEvent,
  VertexEvent,
  VertexProgress,
  WarningEvent,
} from './events.ts';
export { forwarding } from './forwarding.ts';
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
