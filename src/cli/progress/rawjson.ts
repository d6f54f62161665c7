/**
 * Writes one JSON object on each line, in the shape of BuildKit's SolveStatus, for programs that read a build's
 * progress.
 */
import type { LogEvent, StatusEvent, VertexEvent, WarningEvent } from '../../progress/index.ts';
import type { Printer, PrinterIo } from './printer.ts';

function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

export class RawJsonPrinter implements Printer {
  readonly #io: PrinterIo;

  constructor(io: PrinterIo) {
    this.#io = io;
  }

  vertex(event: VertexEvent): void {
    this.#line({
      vertexes: [
        {
          digest: event.digest,
          inputs: event.inputs.length > 0 ? event.inputs : undefined,
          name: event.name,
          started: time(event.started),
          completed: time(event.completed),
          cached: event.cached || undefined,
          error: event.error,
          progressGroup: event.progressGroup,
        },
      ],
    });
  }

  status(event: StatusEvent): void {
    this.#line({
      statuses: [
        {
          id: event.id,
          vertex: event.vertex,
          name: event.name,
          total: event.total,
          current: event.current,
          timestamp: time(event.timestamp),
          started: time(event.started),
          completed: time(event.completed),
        },
      ],
    });
  }

  log(event: LogEvent): void {
    const { vertex, stream, data, timestamp } = event;
    this.#line({ logs: [{ vertex, stream, data: data.toString('base64'), timestamp: time(timestamp) }] });
  }

  warning(event: WarningEvent): void {
    this.#line({
      warnings: [
        {
          vertex: event.vertex,
          level: event.level,
          short: Buffer.from(event.short).toString('base64'),
          detail: event.detail.map((line) => Buffer.from(line).toString('base64')),
          url: event.url,
          sourceInfo: event.source && {
            filename: event.source.filename,
            data: Buffer.from(event.source.text).toString('base64'),
          },
          range: event.source?.ranges,
        },
      ],
    });
  }

  close(): void {}

  #line(value: object): void {
    this.#io.write(`${JSON.stringify(value)}\n`);
  }
}
