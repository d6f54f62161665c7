/**
 * Shows progress for CI and pipes: every line as it comes, with `#N` in front, and one vertex at a time where possible.
 */
import { StringDecoder } from 'node:string_decoder';
import {
  canceledText,
  type LogEvent,
  now,
  type StatusEvent,
  type VertexEvent,
  type WarningEvent,
} from '../../progress/index.ts';
import { ProgressModel, seconds, type VertexView } from './model.ts';
import type { Printer, PrinterIo } from './printer.ts';
import { statusText, statusTime } from './status-text.ts';

/** How long a vertex keeps the floor after its last line while others wait, and how long at most, in ms. */
const silence = 500;
const turn = 3000;
/** So many lines of a step that has not the floor are held back at most. */
const mostHeld = 5000;
/** A line of more characters is broken. */
const longestLine = 64 << 10;
/** How often a transfer prints, in ms. */
const statusEvery = 1000;

interface Pending {
  view: VertexView;
  lines: string[];
  headed: boolean;
  finished: boolean;
  decoders: [StringDecoder, StringDecoder];
  partial: [string, string];
  statusAt: Map<string, number>;
}

/** The printer for CI and pipes. */
export class PlainPrinter implements Printer {
  readonly #io: PrinterIo;
  readonly #model = new ProgressModel();
  readonly #pending = new Map<string, Pending>();
  #current: Pending | undefined;
  #since = 0;
  #lastLine = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(io: PrinterIo) {
    this.#io = io;
    this.#timer = setInterval(() => this.#flush(), 200);
    this.#timer.unref();
  }

  vertex(event: VertexEvent): void {
    const before = this.#model.vertices.get(event.digest)?.event;
    const view = this.#model.vertex(event);
    if (view.n === 0) return;
    const pending = this.#of(view);
    // A context vertex may be completed by each of its users: it is told once.
    if (event.completed !== undefined && before?.completed === undefined) {
      this.#endPartial(pending);
      if (event.error === canceledText) pending.lines.push(canceledText);
      else if (event.error !== undefined) pending.lines.push(`ERROR: ${event.error}`);
      else if (event.cached) pending.lines.push('CACHED');
      else pending.lines.push(`DONE ${seconds(event.completed - (event.started ?? event.completed))}`);
      pending.finished = true;
    }
    this.#flush();
  }

  status(event: StatusEvent): void {
    const view = this.#model.status(event);
    if (view === undefined || view.n === 0) return;
    const pending = this.#of(view);
    const done = event.completed !== undefined;
    const last = pending.statusAt.get(event.id);
    const at = now();
    if (!done && at - (last ?? event.started ?? at) < statusEvery) return;
    if (last === Number.POSITIVE_INFINITY) return;
    pending.statusAt.set(event.id, done ? Number.POSITIVE_INFINITY : at);
    pending.lines.push(`${statusText(event)} ${statusTime(event, at)}${done ? ' done' : ''}`);
    this.#flush();
  }

  log(event: LogEvent): void {
    const view = this.#model.log(event);
    if (view === undefined || view.n === 0) return;
    const pending = this.#of(view);
    if (event.explains === true) {
      pending.lines.push(event.data.toString('utf8').trimEnd());
      this.#flush();
      return;
    }
    const stream = event.stream - 1;
    const text = (pending.partial[stream] ?? '') + (pending.decoders[stream]?.write(event.data) ?? '');
    const parts = text.split('\n');
    const rest = parts.pop() ?? '';
    // A step may print without end, and never end a line.
    if (rest.length > longestLine) parts.push(rest);
    pending.partial[stream as 0 | 1] = rest.length > longestLine ? '' : rest;
    for (const part of parts) pending.lines.push(this.#logLine(view, part, event.timestamp));
    if (pending.lines.length > mostHeld) this.#print(pending);
    this.#flush();
  }

  /** Prints a warning. Findings of the build checks belong to no step; the summary at the end tells them. */
  warning(event: WarningEvent): void {
    const view = this.#model.vertices.get(event.vertex);
    if (view === undefined || view.n === 0) return;
    this.#of(view).lines.push(...[event.short, ...event.detail].map((line) => `WARN: ${line}`));
    this.#flush();
  }

  close(): void {
    clearInterval(this.#timer);
    for (const pending of this.#pending.values()) this.#endPartial(pending);
    for (const pending of [...this.#pending.values()].sort((a, b) => a.view.n - b.view.n)) {
      if (pending.lines.length > 0) this.#print(pending);
    }
  }

  #logLine(view: VertexView, text: string, at: number): string {
    const time = Math.max(0, at - (view.event.started ?? at)) / 1000;
    // What a terminal would show of a line that was drawn over with carriage returns.
    const shown = text.replace(/\r$/, '').replace(/^.*\r/s, '');
    return `${time.toPrecision(4).slice(0, 5)} ${shown}`;
  }

  #endPartial(pending: Pending): void {
    for (const i of [0, 1] as const) {
      const rest = pending.partial[i] + pending.decoders[i].end();
      pending.partial[i] = '';
      if (rest !== '') pending.lines.push(this.#logLine(pending.view, rest, now()));
    }
  }

  #of(view: VertexView): Pending {
    let pending = this.#pending.get(view.event.digest);
    if (pending === undefined) {
      pending = {
        view,
        lines: [],
        headed: false,
        finished: false,
        decoders: [new StringDecoder('utf8'), new StringDecoder('utf8')],
        partial: ['', ''],
        statusAt: new Map(),
      };
      this.#pending.set(view.event.digest, pending);
    }
    return pending;
  }

  #flush(): void {
    for (;;) {
      const current = this.#current;
      if (current !== undefined && current.lines.length > 0) this.#print(current);
      if (this.#current !== undefined && !this.#mayYield(this.#current)) return;
      const next = this.#next();
      if (next === undefined) return;
      this.#print(next);
    }
  }

  #mayYield(current: Pending): boolean {
    if (current.finished) return true;
    const at = now();
    return at - this.#lastLine > silence || at - this.#since > turn;
  }

  #next(): Pending | undefined {
    let best: Pending | undefined;
    for (const pending of this.#pending.values()) {
      if (pending === this.#current || (pending.headed && pending.lines.length === 0)) continue;
      if (pending.lines.length === 0 && !pending.finished && this.#current !== undefined) continue;
      if (best === undefined || pending.view.n < best.view.n) best = pending;
    }
    return best;
  }

  #print(pending: Pending): void {
    const { n, event } = pending.view;
    let out = '';
    if (pending !== this.#current) {
      if (this.#current !== undefined && !this.#current.finished) out += `#${this.#current.view.n} ...\n`;
      if (this.#current !== undefined) out += '\n';
      out += `#${n} ${event.name}\n`;
      this.#current = pending;
      this.#since = now();
      pending.headed = true;
    }
    for (const line of pending.lines) out += `#${n} ${line}\n`;
    pending.lines.length = 0;
    this.#lastLine = now();
    if (pending.finished) this.#pending.delete(event.digest);
    this.#io.write(out);
  }
}
