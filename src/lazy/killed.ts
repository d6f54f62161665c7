/** Tells threads that are killed from those that got another signal. */
import { readFileSync } from 'node:fs';

/** The bit of SIGKILL in a mask of signals. */
const sigkill = 1n << 8n;

/** Whether a thread is about to end, or nothing can be learnt of it: it has ended, or is 0. */
export function isKilled(thread: number): boolean {
  try {
    return awaitsKill(readFileSync(`/proc/${thread}/status`, 'latin1'));
  } catch {
    return true;
  }
}

/**
 * Whether SIGKILL is pending, by the text of /proc/ID/status. The kernel puts it upon each thread of a process that any
 * signal ends.
 */
export function awaitsKill(status: string): boolean {
  const masks = status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm);
  return masks.some(([, mask]) => (BigInt(`0x${mask}`) & sigkill) !== 0n);
}
