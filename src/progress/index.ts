/** What a build tells of its vertices, and the bounds of that. */
export { boundProgress, canceledText, now } from './bound.ts';
export type {
  LogEvent,
  ProgressSink,
  ReportStatus,
  StatusEvent,
  VertexEvent,
  VertexProgress,
  WarningEvent,
} from './events.ts';
