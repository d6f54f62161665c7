import type { Printer } from './printer.ts';

/** Draws nothing. */
export class QuietPrinter implements Printer {
  vertex(): void {}
  status(): void {}
  log(): void {}
  warning(): void {}
  close(): void {}
}
