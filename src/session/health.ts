/**
 * Asks a client now and then whether it still serves its session, as BuildKit does, and ends the session when not. A
 * docker CLI whose build failed before its session was open waits for just that: without it, it hangs.
 */
import type { GrpcChannel } from '../grpc/index.ts';

export const healthMethod = '/grpc.health.v1.Health/Check';

export interface HealthOptions {
  /** Between the first few checks, ms. */
  everyMs: number;
  /** Between later ones, ms; default: five times as much. */
  laterMs?: number;
  /** How long an answer may take, ms. */
  timeoutMs: number;
  /** As many answers in a row that come late end the session: a busy client may miss one. */
  misses: number;
}

const defaults: HealthOptions = { everyMs: 1_000, timeoutMs: 10_000, misses: 2 };

/** How a session is checked whose client wants each check to take so long at most, and the first late one to end it. */
export function clientHealth(ms: number): HealthOptions {
  return { everyMs: ms, laterMs: ms, timeoutMs: ms, misses: 1 };
}

/** Checks until the channel is over. For clients that say they serve `healthMethod`. */
export function watchHealth(channel: GrpcChannel, options: Partial<HealthOptions> = {}): void {
  const { everyMs, laterMs = everyMs * 5, timeoutMs, misses } = { ...defaults, ...options };
  let checks = 0;
  let missed = 0;
  let timer: NodeJS.Timeout | undefined;
  const next = () => {
    timer = setTimeout(check, checks++ < 5 ? everyMs : laterMs).unref();
  };
  const check = async () => {
    const answer = await ask(channel, timeoutMs);
    if (channel.lost !== undefined) return;
    if (answer === 'late' && ++missed < misses) return next();
    if (answer !== 'well') return channel.close();
    missed = 0;
    next();
  };
  void channel.closed.then(() => clearTimeout(timer));
  next();
}

async function ask(channel: GrpcChannel, timeoutMs: number): Promise<'well' | 'late' | 'ended'> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    await channel.unary(healthMethod, new Uint8Array(0), { signal });
    return 'well';
  } catch {
    return signal.aborted ? 'late' : 'ended';
  }
}
