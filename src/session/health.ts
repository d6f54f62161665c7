/**
 * Asks a client now and then whether it still serves its session, as BuildKit does, and ends the session when it does
 * not. A docker CLI whose build failed before its session was open hangs until its session is ended.
 */
import type { GrpcChannel } from '../grpc/index.ts';

export const healthMethod = '/grpc.health.v1.Health/Check';

/** When a client is asked whether it is there, and when its silence ends the session. */
export interface HealthOptions {
  /** The time between the first few checks, in ms. */
  everyMs: number;
  /** The time between later checks, in ms; default: five times as much. */
  laterMs?: number;
  /** The time that an answer may take, in ms. */
  timeoutMs: number;
  /** How many late answers in a row end the session: a busy client may miss one. */
  misses: number;
}

const defaults: HealthOptions = { everyMs: 1_000, timeoutMs: 10_000, misses: 2 };

/** The checks for a client that itself says how long one may take, in ms; the first late answer ends its session. */
export function clientHealth(ms: number): HealthOptions {
  return { everyMs: ms, laterMs: ms, timeoutMs: ms, misses: 1 };
}

/** Checks until the channel is over. It is for clients that say they serve `healthMethod`. */
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
