/** The state of a build so far, with vertices numbered in the order in which they start. Printers draw it. */
import type { LogEvent, StatusEvent, VertexEvent } from '../../progress/index.ts';

/** A vertex as printers draw it. */
export interface VertexView {
  /** The number, 1, 2, …; it is set once the vertex has started. */
  n: number;
  event: VertexEvent;
  statuses: Map<string, StatusEvent>;
}

/** Vertices by digest. Only those that have started (or were cached, or failed) have a number. */
export class ProgressModel {
  readonly vertices = new Map<string, VertexView>();
  #last = 0;

  /** Takes an event; returns the vertex as it is now. */
  vertex(event: VertexEvent): VertexView {
    let view = this.vertices.get(event.digest);
    if (view === undefined) {
      view = { n: 0, event, statuses: new Map() };
      this.vertices.set(event.digest, view);
    }
    view.event = event;
    if (view.n === 0 && event.started !== undefined) view.n = ++this.#last;
    return view;
  }

  status(event: StatusEvent): VertexView | undefined {
    const view = this.vertices.get(event.vertex);
    view?.statuses.set(event.id, event);
    return view;
  }

  log(event: LogEvent): VertexView | undefined {
    return this.vertices.get(event.vertex);
  }

  /** Started vertices, in order. */
  started(): VertexView[] {
    return [...this.vertices.values()].filter((view) => view.n > 0).sort((a, b) => a.n - b.n);
  }

  /** The numbers of finished and of known vertices, for the head line. */
  counts(): { done: number; total: number } {
    let done = 0;
    for (const { event } of this.vertices.values()) if (event.completed !== undefined) done++;
    return { done, total: this.vertices.size };
  }
}

/** Seconds with one decimal: `1.2s`. */
export function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)}s`;
}
