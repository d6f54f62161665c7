import { setTimeout as sleep } from 'node:timers/promises';

/** Tries again and again, for ten seconds, until it does not throw. */
export async function until<T>(attempt: () => T | Promise<T>): Promise<T> {
  for (let i = 0; ; i++) {
    try {
      return await attempt();
    } catch (err) {
      if (i === 100) throw err;
      await sleep(100);
    }
  }
}
