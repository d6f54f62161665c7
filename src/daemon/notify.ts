/** Tells the service manager the state of the daemon (sd_notify(3)). */
import type { Log } from '../api/index.ts';
import { sendDatagram } from '../linux/index.ts';

/** The service manager that has started the daemon. */
export interface ServiceManager {
  /** Says that the daemon serves; `status` is for people. */
  ready(status: string): void;
  /** Says that the daemon has begun to stop. */
  stopping(): void;
}

/**
 * The service manager in NOTIFY_SOCKET, or one that hears nothing. The variable is removed: otherwise runc would hand
 * it on to containers, which would then be taken for the daemon. A service manager that cannot be told is logged.
 */
export function takeServiceManager(log: Log, env: NodeJS.ProcessEnv = process.env): ServiceManager {
  const socket = env.NOTIFY_SOCKET;
  delete env.NOTIFY_SOCKET;
  const tell = (text: string) => {
    if (!socket) return;
    try {
      sendDatagram(socket, text);
    } catch (err) {
      log('warn', `the service manager cannot be told: ${(err as Error).message}`);
    }
  };
  return {
    ready: (status) => tell(`READY=1\nSTATUS=${status.replaceAll('\n', ' ')}`),
    stopping: () => tell('STOPPING=1\nSTATUS=finishing builds'),
  };
}
