/** The audit log: one JSON line for each decision, appended to a file or handed to the daemon's log. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { fail } from '../errors/index.ts';
import { auditIdentity } from './identity.ts';
import type { AuthLog } from './log.ts';
import type { Identity, Scope } from './types.ts';

interface Decision {
  requestId: string;
  endpoint: string;
  /** The identity; undefined when a credential was not valid. */
  identity?: Identity;
  scopes: readonly Scope[];
  /** Whether the request starts and changes nothing. */
  reads?: boolean;
  decision: 'allowed' | 'denied' | 'unauthenticated' | 'error';
  /** Why it was refused. */
  reason?: string;
}

/** An open audit log. */
export interface AuditLog {
  write(decision: Decision): void;
  /** Opens the file anew, after log rotation has moved it. */
  reopen(): void;
  close(): void;
}

/**
 * Opens an audit log. Without a file its lines go to `log`, those of allowed reads at level debug. Throws `invalid`
 * when the file cannot be opened. Later trouble (a full disk) is logged once, and the lines go to `log` until the file
 * takes them again.
 */
export function openAuditLog(file: string | undefined, log: AuthLog): AuditLog {
  let fd: number | undefined;
  let failing = false;

  function open(): number | undefined {
    // Lines tell who works on what: for the daemon's user and group only.
    return file === undefined ? undefined : openSync(file, 'a', 0o640);
  }

  function trouble(what: string, err: unknown): void {
    if (!failing) {
      log('error', `the audit log ${file} cannot be ${what}: ${(err as Error).message}; its lines go here`);
    }
    failing = true;
  }

  try {
    fd = open();
  } catch (err) {
    throw fail('invalid', 'host', `the audit log ${file} cannot be opened: ${(err as Error).message}`, {
      cause: err,
      hint: 'Name a file in a folder that exists and that the daemon may write to.',
    });
  }

  return {
    write({ identity, endpoint, reads, ...rest }) {
      const line = {
        time: new Date().toISOString(),
        ...rest,
        endpoint: endpoint.replace(/\?.*$/s, ''),
        identity: identity && auditIdentity(identity),
      };
      if (fd !== undefined) {
        try {
          writeSync(fd, `${JSON.stringify(line)}\n`);
          failing = false;
          return;
        } catch (err) {
          trouble('written', err);
        }
      }
      log(reads && rest.decision === 'allowed' ? 'debug' : 'info', 'audit', line);
    },
    reopen() {
      if (file === undefined) return;
      try {
        const fresh = open();
        if (fd !== undefined) closeSync(fd);
        fd = fresh;
      } catch (err) {
        trouble('opened', err);
      }
    },
    close() {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
    },
  };
}
