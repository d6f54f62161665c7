/** Progress events in the shape of BuildKit's StatusResponse: vertices, statuses (transfers), logs, warnings. */
import type { SourceLocation } from '../errors/index.ts';
import type { Digest } from '../oci/index.ts';
import type { NetworkUse, StepUsage } from './usage.ts';

/** The state of a vertex: it began, ended, was cached or failed. */
export interface VertexEvent {
  digest: Digest;
  inputs: Digest[];
  name: string;
  /** ms since the epoch, like all times here */
  started?: number;
  completed?: number;
  cached?: boolean;
  error?: string;
  progressGroup?: { id: string; name: string; weak: boolean };
}

/** A transfer or sub-task under a vertex; `current`/`total` are bytes (total 0: unknown). */
export interface StatusEvent {
  id: string;
  vertex: Digest;
  name: string;
  current: number;
  total: number;
  timestamp: number;
  started?: number;
  completed?: number;
}

/** A piece of a step's output. */
export interface LogEvent {
  vertex: Digest;
  /** 1 stdout, 2 stderr */
  stream: 1 | 2;
  data: Buffer;
  timestamp: number;
  /** Not the step's own output but the line that says why it runs. */
  explains?: boolean;
}

/** A warning about a vertex. */
export interface WarningEvent {
  vertex: Digest;
  level: number;
  /** The first line of the warning, which is always shown. */
  short: string;
  detail: string[];
  url?: string;
  source?: SourceLocation;
}

/** What a step that has run, well or not, has used of the machine. */
export interface UsageEvent {
  vertex: Digest;
  usage: StepUsage;
}

/** What a step has asked for by the proxy of its network when it ran, well or not: now, or for a build before. */
export interface NetworkEvent {
  vertex: Digest;
  network: NetworkUse;
}

/** The places in Dockerfiles from which vertices were made. */
export interface SourcesEvent {
  places: ReadonlyMap<Digest, SourceLocation>;
}

/** The receiver of a build's events. It is called synchronously and must not throw. */
export interface ProgressSink {
  vertex(event: VertexEvent): void;
  status(event: StatusEvent): void;
  log(event: LogEvent): void;
  warning(event: WarningEvent): void;
  /** Left out by receivers that have no use for it. */
  usage?(event: UsageEvent): void;
  /** Left out likewise. */
  network?(event: NetworkEvent): void;
  /** Left out likewise. It comes before the vertices begin. */
  sources?(event: SourcesEvent): void;
}

/** Progress of one transfer or extraction, shown under a vertex. Numbers are bytes unless total is 0. */
export type ReportStatus = (id: string, state: { current: number; total: number; done?: boolean }) => void;

/** Progress reports of one vertex, for its op or exporter. */
export interface VertexProgress {
  readonly digest: Digest;
  /** Starts or updates a status line; `done` (or total reached with done) completes it. */
  report: ReportStatus;
  log(stream: 1 | 2, data: Buffer | string): void;
  warn(warning: Omit<WarningEvent, 'vertex'>): void;
  /** Tells what the vertex's process has used of the machine. */
  used?(usage: StepUsage): void;
  /** Tells what the vertex's process has asked for by the proxy of its network. */
  reached?(network: NetworkUse): void;
}
