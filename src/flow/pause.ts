import { setTimeout as sleep } from 'node:timers/promises';
import { canceled } from '../errors/index.ts';

/** Waits `ms` milliseconds; throws `canceled` as soon as the signal fires. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    throw canceled(signal?.reason);
  }
}
