/** A build's progress on its way to a client, as BuildKit's StatusResponse. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';
import { clip } from '../../errors/index.ts';
import {
  type StatusResponse,
  StatusResponseSchema,
  type VertexLogSchema,
  type VertexSchema,
  type VertexStatusSchema,
  type VertexWarningSchema,
} from '../../pb/moby/buildkit/v1/status_pb.js';
import type { LogEvent, ProgressSink, StatusEvent, VertexEvent, WarningEvent } from '../../progress/index.ts';

/** The most bytes of one message, or of its only event: gRPC clients take 4 MiB or more. */
const maxMessage = 1 << 20;
/** About how many bytes an event of output takes besides its text, which may be a single letter. */
const logOverhead = 100;

/** About how many bytes an event of output takes. */
export function logSize(event: LogEvent): number {
  return event.data.length + logOverhead;
}

/** The longest error of a vertex, in characters. */
const maxError = 64 << 10;

/**
 * Collects a build's events, other than output, until they are taken. A new state of a vertex or a transfer replaces an
 * older one that still waits, so that a slow client costs little memory.
 */
export class StatusCollector implements Omit<ProgressSink, 'log'> {
  readonly #vertices = new Map<string, VertexEvent>();
  readonly #statuses = new Map<string, StatusEvent>();
  readonly #warnings: WarningEvent[] = [];

  get isEmpty(): boolean {
    return this.#vertices.size === 0 && this.#statuses.size === 0 && this.#warnings.length === 0;
  }

  vertex(event: VertexEvent): void {
    this.#vertices.set(event.digest, event);
  }

  status(event: StatusEvent): void {
    this.#statuses.set(`${event.vertex} ${event.id}`, event);
  }

  warning(event: WarningEvent): void {
    this.#warnings.push(event);
  }

  /**
   * The waiting events, in messages of about 1 MiB at most; empty when none waits. `most` takes only the first ones of
   * more events.
   */
  take(most = Number.POSITIVE_INFINITY): StatusResponse[] {
    const packing = new Packing();
    let left = most;
    for (const event of this.#vertices.values()) {
      if (left-- <= 0) return packing.messages();
      this.#vertices.delete(event.digest);
      packing.add('vertexes', event.name.length + 160 + event.inputs.length * 73, vertexMessage(event));
    }
    for (const [key, event] of this.#statuses) {
      if (left-- <= 0) return packing.messages();
      this.#statuses.delete(key);
      packing.add('statuses', event.id.length + 160, statusMessage(event));
    }
    for (const event of this.#warnings.splice(0, left)) {
      const size = event.short.length + (event.source?.text.length ?? 0) + event.detail.join().length + 160;
      packing.add('warnings', size, warningMessage(event));
    }
    return packing.messages();
  }
}

/** Events of output, in messages of about 1 MiB at most. */
export function logMessages(events: readonly LogEvent[]): StatusResponse[] {
  const packing = new Packing();
  for (const event of events) packing.add('logs', logSize(event), logMessage(event));
  return packing.messages();
}

type Parts = Required<
  Pick<MessageInitShape<typeof StatusResponseSchema>, 'vertexes' | 'statuses' | 'warnings' | 'logs'>
>;

/** Puts events into messages, in their order. */
class Packing {
  readonly #parts: Parts[] = [];
  #size = 0;

  /** Adds an event that takes about `size` bytes. */
  add<K extends keyof Parts>(kind: K, size: number, event: Parts[K][number]): void {
    let parts = this.#parts.at(-1);
    if (parts === undefined || this.#size + size > maxMessage) {
      parts = { vertexes: [], statuses: [], warnings: [], logs: [] };
      this.#parts.push(parts);
      this.#size = 0;
    }
    this.#size += size;
    (parts[kind] as Parts[K][number][]).push(event);
  }

  messages(): StatusResponse[] {
    return this.#parts.map((parts) => create(StatusResponseSchema, parts));
  }
}

function vertexMessage(event: VertexEvent): MessageInitShape<typeof VertexSchema> {
  return {
    digest: event.digest,
    inputs: event.inputs,
    name: event.name,
    cached: event.cached ?? false,
    started: time(event.started),
    completed: time(event.completed),
    error: clip(event.error ?? '', maxError),
    progressGroup: event.progressGroup,
  };
}

function statusMessage(event: StatusEvent): MessageInitShape<typeof VertexStatusSchema> {
  return {
    ID: event.id,
    vertex: event.vertex,
    // What is done, apart from with what: clients add up what was transferred by it.
    name: /^(transferring |copying files)/.test(event.id) ? 'transferring' : '',
    current: BigInt(Math.round(event.current)),
    total: BigInt(Math.round(event.total)),
    timestamp: time(event.timestamp),
    started: time(event.started),
    completed: time(event.completed),
  };
}

function logMessage(event: LogEvent): MessageInitShape<typeof VertexLogSchema> {
  return {
    vertex: event.vertex,
    timestamp: time(event.timestamp),
    stream: BigInt(event.stream),
    msg: event.data,
  };
}

function warningMessage(event: WarningEvent): MessageInitShape<typeof VertexWarningSchema> {
  const { source } = event;
  return {
    vertex: event.vertex,
    level: BigInt(event.level),
    short: Buffer.from(event.short),
    detail: event.detail.map((line) => Buffer.from(line)),
    url: event.url ?? '',
    ...(source && {
      info: { filename: source.filename, data: Buffer.from(source.text), language: 'Dockerfile' },
      ranges: source.ranges,
    }),
  };
}

/** ms since the epoch, with a fraction */
function time(ms: number | undefined): Timestamp | undefined {
  if (ms === undefined) return undefined;
  const seconds = Math.floor(ms / 1000);
  const nanos = Math.min(999_999_999, Math.max(0, Math.round((ms - seconds * 1000) * 1e6)));
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos });
}
