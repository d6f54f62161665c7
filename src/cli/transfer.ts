import { randomUUID } from 'node:crypto';
import { maskUrls, toDrydockError } from '../errors/index.ts';
import { digestOf } from '../oci/index.ts';
import { boundProgress, canceledText, now, type ReportStatus } from '../progress/index.ts';
import type { CommandContext } from './command.ts';
import { createPrinter, type ProgressMode } from './progress/printer.ts';

/**
 * Runs one transfer (a pull, a push), and shows it and its parts as progress shows a step of a build.
 *
 *     await showTransfer(ctx, 'auto', 'pulling app:1', (report) => remotePull(remote, 'app:1', {}, report));
 */
export async function showTransfer<T>(
  ctx: CommandContext,
  mode: ProgressMode,
  name: string,
  work: (report: ReportStatus) => Promise<T>,
): Promise<T> {
  const printer = createPrinter(mode, ctx.stderr);
  const vertex = { digest: digestOf(randomUUID()), inputs: [], name: maskUrls(name), started: now() };
  const progress = boundProgress(vertex.digest, printer);
  printer.vertex(vertex);
  try {
    const result = await work((id, state) => progress.report(id, state));
    printer.vertex({ ...vertex, completed: now() });
    return result;
  } catch (err) {
    const error = toDrydockError(err);
    const text = error.code === 'canceled' ? canceledText : maskUrls(error.message);
    printer.vertex({ ...vertex, completed: now(), error: text });
    throw error;
  } finally {
    printer.close();
  }
}
