/** The policy in force. It is read from its file, and again when the file changes; a broken file never replaces it. */
import { type BigIntStats, closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { errnoCode, fail, toDrydockError } from '../errors/index.ts';
import { idOutside } from '../linux/index.ts';
import type { AuthLog } from './log.ts';
import { defaultPolicy, type Policy } from './policy.ts';
import { parsePolicy } from './policy-text.ts';
import type { PolicyPlace } from './types.ts';

const maxSize = 4 << 20;
/** A file that is younger than this, in ms, may change again without its times showing it. */
const settledMs = 100;

/** A policy file that is watched. */
export interface PolicyFile {
  /** The policy in force. Looks first (by one stat) whether the file has changed. */
  current(): Policy;
  /** Reads the file again, whether it has changed or not. */
  reload(): void;
  place(): PolicyPlace;
}

/**
 * Opens a policy file. With `optional`, the built-in policy stands for a missing file until it appears. A file that is
 * there at the start must be right: throws `invalid` with line and column, `not-found` or `denied`. A file that is
 * broken, unreadable or removed later is logged once, and the policy before it stays.
 *
 *     openPolicyFile('/etc/drydock/policy.json', true, log, 0).current()
 */
export function openPolicyFile(file: string, optional: boolean, log: AuthLog, ownUid: number): PolicyFile {
  let policy = defaultPolicy(idOutside('user', ownUid));
  /** The state of the file that was read last; undefined while somebody may still be writing it. */
  let stamp: string | undefined;
  let text: string | undefined;
  let complaint: string | undefined;

  if (!optional || stampOf(file) !== missing) {
    stamp = stampOf(file);
    text = readPolicyText(file, ownUid);
    policy = parsePolicy(text, file);
  } else stamp = missing;

  function look(force: boolean): void {
    const now = stampOf(file);
    if (now !== undefined && now === stamp && !force) return;
    stamp = now;
    if (now === missing && policy.file === undefined) return;
    try {
      const fresh = readPolicyText(file, ownUid);
      if (fresh !== text || complaint !== undefined) {
        policy = parsePolicy(fresh, file);
        text = fresh;
        log('info', `the policy file ${file} is in force`, { rules: policy.rules.length });
      }
      complaint = undefined;
    } catch (err) {
      const { message } = toDrydockError(err);
      if (message === complaint && !force) return;
      complaint = message;
      log('error', `the changed policy is not taken: ${message}; the one before stays in force`, { file });
    }
  }

  return {
    current() {
      look(false);
      return policy;
    },
    reload: () => look(true),
    place: () => ({ file, exists: policy.file !== undefined }),
  };
}

/**
 * Reads the text of a policy file. Throws `not-found`; `denied` when it cannot be read, or when others than root and
 * the daemon's user could have written it; `invalid` when it is larger than 4 MiB. ENOENT comes through as it is.
 */
export function readPolicyText(file: string, ownUid: number): string {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (err) {
    if (errnoCode(err) === 'ENOENT') {
      throw fail('not-found', 'host', `there is no policy file ${file}`, {
        cause: err,
        hint: 'See docs/security.md.',
      });
    }
    throw fail('denied', 'host', `the policy file ${file} cannot be read: ${(err as Error).message}`, {
      cause: err,
    });
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw fail('invalid', 'host', `the policy file ${file} is not a file`);
    if (stat.size > maxSize) throw fail('invalid', 'host', `the policy file ${file} is larger than 4 MiB`);
    if ((stat.mode & 0o002) !== 0 || (stat.uid !== 0 && stat.uid !== ownUid)) {
      throw fail('denied', 'host', `the policy file ${file} could have been written by anyone`, {
        hint: `Run \`chown root ${file} && chmod 640 ${file}\`.`,
      });
    }
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

const missing = 'missing';

/**
 * A text that tells one state of a file from the next; undefined when the file is so young that it may change again
 * unseen.
 */
function stampOf(file: string): string | undefined {
  let stat: BigIntStats | undefined;
  try {
    stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  } catch (err) {
    return `${errnoCode(err)}`;
  }
  if (stat === undefined) return missing;
  if (Math.abs(Date.now() - Number(stat.ctimeMs)) < settledMs) return undefined;
  return `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}
