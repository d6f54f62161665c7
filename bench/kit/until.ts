import { setTimeout as sleep } from 'node:timers/promises';

/** Tries again and again, every `pause` ms for a minute, until it does not throw. */
export async function until<T>(attempt: () => T | Promise<T>, pause = 100): Promise<T> {
  for (let waited = 0; ; waited += pause) {
    try {
      return await attempt();
    } catch (err) {
      if (waited >= 60_000) throw err;
      await sleep(pause);
    }
  }
}
