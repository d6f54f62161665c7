/**
 * Shows progress on a terminal: one picture, redrawn in place ten times a second at most, and left standing at the end.
 */
import { stripVTControlCharacters } from 'node:util';
import { readTimes } from '../../explain/index.ts';
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

const tailLines = 6;
const redrawEvery = 100;

type Color = 'blue' | 'red' | 'yellow' | 'none';
const codes: Record<Color, string> = { blue: '\x1b[34m', red: '\x1b[31m', yellow: '\x1b[33m', none: '' };

interface Row {
  left: string;
  right: string;
  color: Color;
  /** Whether the row goes first when the screen is too small. */
  minor: boolean;
}

/** The printer for a terminal. */
export class TtyPrinter implements Printer {
  readonly #io: PrinterIo;
  readonly #model = new ProgressModel();
  readonly #tails = new Map<string, { lines: string[]; partial: string }>();
  readonly #warnings = new Map<string, string[]>();
  /** Why steps run, and how long they took before. */
  readonly #explanations = new Map<string, ReturnType<typeof readTimes>>();
  readonly #begun = now();
  #drawn = 0;
  #dirty = false;
  readonly #timer: NodeJS.Timeout;

  constructor(io: PrinterIo) {
    this.#io = io;
    this.#timer = setInterval(() => this.#draw(false), redrawEvery);
    this.#timer.unref();
  }

  vertex(event: VertexEvent): void {
    this.#model.vertex(event);
    this.#dirty = true;
  }

  status(event: StatusEvent): void {
    this.#model.status(event);
    this.#dirty = true;
  }

  log(event: LogEvent): void {
    if (event.explains === true) {
      this.#explanations.set(event.vertex, readTimes(event.data.toString('utf8').trimEnd()));
      this.#dirty = true;
      return;
    }
    let tail = this.#tails.get(event.vertex);
    if (tail === undefined) {
      tail = { lines: [], partial: '' };
      this.#tails.set(event.vertex, tail);
    }
    const parts = (tail.partial + event.data.toString('utf8')).split('\n');
    tail.partial = (parts.pop() ?? '').slice(-1000);
    tail.lines.push(...parts);
    if (tail.lines.length > tailLines) tail.lines.splice(0, tail.lines.length - tailLines);
    this.#dirty = true;
  }

  warning(event: WarningEvent): void {
    const lines = this.#warnings.get(event.vertex) ?? [];
    this.#warnings.set(event.vertex, [...lines, event.short, ...event.detail]);
    this.#dirty = true;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#draw(true);
  }

  #draw(final: boolean): void {
    const { done, total } = this.#model.counts();
    if (!final && !this.#dirty && done === total) return;
    this.#dirty = false;
    const width = Math.max(20, this.#io.columns() - 1);
    const elapsed = seconds(now() - this.#begun);
    const state = final && done === total ? 'FINISHED' : `(${done}/${total})`;
    const critical = final ? undefined : this.#critical();
    const left = critical === undefined ? '' : `, about ${timeText(critical.left)} left`;
    let rows = this.#model.started().flatMap((view) => this.#rows(view, final, critical?.vertex));
    const room = Math.max(1, this.#io.rows() - 2);
    if (!final && rows.length > room) rows = shrink(rows, room);
    let out = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    out += `\x1b[2K[+] Building ${elapsed} ${state}${left}\n`;
    for (const row of rows) out += `\x1b[2K${this.#paint(row, width)}\n`;
    out += '\x1b[J';
    this.#drawn = rows.length + 1;
    this.#io.write(out);
  }

  /** The running step after which most is to be done yet, by earlier runs, and how long that takes, in ms. */
  #critical(): { vertex: string; left: number } | undefined {
    const at = now();
    let critical: { vertex: string; left: number } | undefined;
    for (const [vertex, { times }] of this.#explanations) {
      const event = this.#model.vertices.get(vertex)?.event;
      if (times === undefined || event?.started === undefined || event.completed !== undefined) continue;
      // A step that takes longer than before is about to end, for all that is known.
      const left = times.toEnd - Math.min(at - event.started, times.took);
      if (critical === undefined || left > critical.left) critical = { vertex, left };
    }
    return critical;
  }

  #rows(view: VertexView, final: boolean, critical: string | undefined): Row[] {
    const { event } = view;
    const at = now();
    const finished = event.completed !== undefined;
    const failed = event.error !== undefined;
    const mark = failed
      ? event.error === canceledText
        ? 'CANCELED '
        : 'ERROR '
      : event.cached
        ? 'CACHED '
        : '';
    const color: Color = failed ? (mark === 'ERROR ' ? 'red' : 'yellow') : finished ? 'blue' : 'none';
    const explanation = this.#explanations.get(event.digest);
    const took = finished ? 0 : (explanation?.times?.took ?? 0);
    const time = seconds((event.completed ?? at) - (event.started ?? at));
    const rows: Row[] = [
      {
        left: ` ${event.digest === critical ? '*' : '='}> ${mark}${event.name}`,
        right: took === 0 ? time : `${time} of ~${timeText(took)}`,
        color,
        minor: finished && !failed,
      },
    ];
    if (explanation !== undefined) {
      rows.push({ left: ` => => ${explanation.text}`, right: '', color: 'none', minor: finished && !failed });
    }
    for (const status of view.statuses.values()) {
      rows.push({
        left: ` => => ${statusText(status)}`,
        right: statusTime(status, at),
        color: status.completed === undefined ? 'none' : 'blue',
        minor: finished || status.completed !== undefined,
      });
    }
    for (const line of this.#warnings.get(event.digest) ?? []) {
      rows.push({ left: ` => => WARN: ${line}`, right: '', color: 'yellow', minor: false });
    }
    const tail = this.#tails.get(event.digest);
    if (tail !== undefined && !finished && !final) {
      const lines = tail.partial === '' ? tail.lines : [...tail.lines, tail.partial];
      for (const line of lines.slice(-tailLines)) {
        const shown = stripVTControlCharacters(line.replace(/\r$/, '').replace(/^.*\r/s, '')).replace(
          /\t/g,
          '  ',
        );
        rows.push({ left: ` => => # ${shown}`, right: '', color: 'none', minor: false });
      }
    }
    return rows;
  }

  #paint({ left, right, color }: Row, width: number): string {
    const space = width - right.length - 1;
    // A digest is cut before what follows it is.
    const fitting = left.length > space ? left.replace(/(sha256:[0-9a-f]{12})[0-9a-f]{52}/g, '$1…') : left;
    const text = fitting.slice(0, space).padEnd(space);
    const line = right === '' ? text.trimEnd() : `${text} ${right}`;
    return this.#io.colors && color !== 'none' ? `${codes[color]}${line}\x1b[0m` : line;
  }
}

/** `42s`, `3m 05s` */
function timeText(ms: number): string {
  const whole = Math.max(1, Math.round(ms / 1000));
  const minutes = Math.floor(whole / 60);
  return minutes === 0 ? `${whole}s` : `${minutes}m ${String(whole % 60).padStart(2, '0')}s`;
}

/** Drops the oldest finished rows, then the oldest others, until the rest fits. */
function shrink(rows: readonly Row[], room: number): Row[] {
  let excess = rows.length - room;
  const kept = rows.filter((row) => !(row.minor && excess-- > 0));
  return kept.slice(-room);
}
