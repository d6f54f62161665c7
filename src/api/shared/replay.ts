/** BuildKit's StatusResponse → build events: the other end of `StatusCollector`. Pure. */
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { SourceLocation } from '../../errors/index.ts';
import { explanationStart } from '../../explain/index.ts';
import type { LintWarning } from '../../frontend/index.ts';
import type { Digest } from '../../oci/index.ts';
import type { StatusResponse, Vertex, VertexWarning } from '../../pb/moby/buildkit/v1/status_pb.js';
import type { ProgressSink, VertexEvent } from '../../progress/index.ts';

/** Tells a sink the events in a message. A step's end comes after all other events of the step. */
export function replay(message: StatusResponse, sink: ProgressSink): void {
  const vertices = message.vertexes.map(vertexOf);
  for (const vertex of vertices) sink.vertex({ ...vertex, completed: undefined, error: undefined });
  for (const { ID, vertex, current, total, timestamp, started, completed } of message.statuses) {
    sink.status({
      id: ID,
      vertex: vertex as Digest,
      name: ID,
      current: Number(current),
      total: Number(total),
      timestamp: ms(timestamp) ?? 0,
      started: ms(started),
      completed: ms(completed),
    });
  }
  for (const { vertex, stream, msg, timestamp } of message.logs) {
    const data = Buffer.from(msg);
    sink.log({
      vertex: vertex as Digest,
      stream: stream === 2n ? 2 : 1,
      data,
      timestamp: ms(timestamp) ?? 0,
      ...(stream === 2n && isExplanation(data) && { explains: true }),
    });
  }
  for (const warning of message.warnings) {
    sink.warning({
      vertex: warning.vertex as Digest,
      level: Number(warning.level),
      short: text(warning.short),
      detail: warning.detail.map(text),
      url: warning.url,
      source: sourceOf(warning),
    });
  }
  for (const vertex of vertices) if (vertex.completed !== undefined) sink.vertex(vertex);
}

/** Whether a message is the line that says why a step runs: it comes by itself, and the protocol has no mark for it. */
function isExplanation(data: Buffer): boolean {
  return data.indexOf(explanationStart) === 0 && data.indexOf('\n') === data.length - 1;
}

function vertexOf({
  digest,
  inputs,
  name,
  cached,
  started,
  completed,
  error,
  progressGroup,
}: Vertex): VertexEvent {
  return {
    digest: digest as Digest,
    inputs: inputs as Digest[],
    name,
    cached,
    started: ms(started),
    completed: ms(completed),
    error: error === '' ? undefined : error,
    progressGroup: progressGroup && {
      id: progressGroup.id,
      name: progressGroup.name,
      weak: progressGroup.weak,
    },
  };
}

/** The findings of the build checks among a message's warnings. */
export function findingsOf(message: StatusResponse): LintWarning[] {
  return message.warnings.flatMap((warning) => {
    const match = /^(\w+): (.*?)(?: \(line \d+\))?$/s.exec(text(warning.short));
    const location = sourceOf(warning);
    if (match === null || location === undefined) return [];
    const [, rule = '', message = ''] = match;
    return [{ rule, message, description: warning.detail.map(text).join('\n'), url: warning.url, location }];
  });
}

function sourceOf({ info, ranges }: VertexWarning): SourceLocation | undefined {
  if (info === undefined) return undefined;
  return {
    filename: info.filename,
    text: text(info.data),
    ranges: ranges.map(({ start, end }) => ({
      start: { line: start?.line ?? 0, character: start?.character ?? 0 },
      end: { line: end?.line ?? 0, character: end?.character ?? 0 },
    })),
  };
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}

/** ms since the epoch */
function ms(time: Timestamp | undefined): number | undefined {
  return time && Number(time.seconds) * 1000 + time.nanos / 1e6;
}
