/**
 * Asks a client now and then whether it still serves its session, as BuildKit does, and ends the session when not. A
 * docker CLI whose build failed before its session was open waits for just that: without it, it hangs.
 */
import type { GrpcChannel } from './grpc/channel.ts';

export const healthMethod = '/grpc.health.v1.Health/Check';

export interface HealthOptions {
  /** Between the first few checks, ms; later ones are five times as far apart. */
  everyMs: number;
  /** How long an answer may take, ms. A busy client may miss one. */
  timeoutMs: number;
}

const defaults: HealthOptions = { everyMs: 1_000, timeoutMs: 10_000 };

/** Checks until the channel is over. For clients that say they serve `healthMethod`. */
export function watchHealth(channel: GrpcChannel, options: Partial<HealthOptions> = {}): void {
  const { everyMs, timeoutMs } = { ...defaults, ...options };
  let checks = 0;
  let missed = 0;
  let timer: NodeJS.Timeout | undefined;
  const next = () => {
    timer = setTimeout(check, checks++ < 5 ? everyMs : everyMs * 5).unref();
  };
  const check = async () => {
    const answer = await ask(channel, timeoutMs);
    if (channel.lost !== undefined) return;
    if (answer === 'late' && ++missed < 2) return next();
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
