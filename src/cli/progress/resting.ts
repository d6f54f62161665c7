import { createPrinter, type Printer, type ProgressMode } from './printer.ts';

/** A printer that leaves the screen to others for a while. */
interface RestingPrinter extends Printer {
  /** Leaves the screen in order; what is told meanwhile is not shown. */
  pause(): void;
  /** Shows again what is told from now on. */
  resume(): void;
}

/** A printer of a mode on a stream that can be paused. Once it was paused, `close` draws what came after that only. */
export function restingPrinter(mode: ProgressMode, stream: NodeJS.WriteStream): RestingPrinter {
  let printer: Printer | undefined = createPrinter(mode, stream);
  const close = () => {
    printer?.close();
    printer = undefined;
  };
  return {
    vertex: (event) => printer?.vertex(event),
    status: (event) => printer?.status(event),
    log: (event) => printer?.log(event),
    warning: (event) => printer?.warning(event),
    usage: (event) => printer?.usage?.(event),
    network: (event) => printer?.network?.(event),
    pause: close,
    resume() {
      printer ??= createPrinter(mode, stream);
    },
    close,
  };
}
