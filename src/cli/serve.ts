import type { Daemon } from '../daemon/index.ts';

/** Lets a daemon serve until the signal fires, then stops it. SIGHUP makes it read its settings again. */
export async function serve(daemon: Daemon, signal: AbortSignal): Promise<void> {
  const reload = () => daemon.reload();
  process.on('SIGHUP', reload);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await daemon.stop();
  process.off('SIGHUP', reload);
}
