import { forwarding, type ProgressSink } from '../../progress/index.ts';
import { inert } from '../../words/index.ts';
import { PlainPrinter } from './plain.ts';
import { QuietPrinter } from './quiet.ts';
import { RawJsonPrinter } from './rawjson.ts';
import { TtyPrinter } from './tty.ts';

/** A sink of build events that draws them; `close` leaves the screen in order. */
export interface Printer extends ProgressSink {
  close(): void;
}

/** The stream that a printer draws on. */
export interface PrinterIo {
  write(text: string): void;
  columns(): number;
  rows(): number;
  colors: boolean;
}

export const progressModes = ['auto', 'tty', 'plain', 'rawjson', 'quiet', 'none'] as const;
export type ProgressMode = (typeof progressModes)[number];

/** The printer of a mode on a stream; `auto` is `tty` on a terminal and `plain` elsewhere. */
export function createPrinter(mode: ProgressMode, stream: NodeJS.WriteStream): Printer {
  const terminal = stream.isTTY === true;
  const io: PrinterIo = {
    write: (text) => void stream.write(text),
    columns: () => stream.columns || 80,
    rows: () => stream.rows || 24,
    colors: terminal && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
  };
  switch (mode) {
    case 'auto':
      return withInertNames(
        terminal && process.env.TERM !== 'dumb' ? new TtyPrinter(io) : new PlainPrinter(io),
      );
    case 'tty':
      return withInertNames(new TtyPrinter(io));
    case 'plain':
      return withInertNames(new PlainPrinter(io));
    case 'rawjson':
      return new RawJsonPrinter(io);
    case 'quiet':
    case 'none':
      return new QuietPrinter();
  }
}

/** A printer whose terminal does what the output of steps says, and nothing that their names and errors say. */
function withInertNames(printer: Printer): Printer {
  return {
    ...forwarding(printer),
    vertex: ({ name, error, ...event }) =>
      printer.vertex({ ...event, name: inert(name), ...(error !== undefined && { error: inert(error) }) }),
    status: ({ id, name, ...event }) => printer.status({ ...event, id: inert(id), name: inert(name) }),
    warning: ({ short, detail, ...event }) =>
      printer.warning({ ...event, short: inert(short), detail: detail.map(inert) }),
    close: () => printer.close(),
  };
}
