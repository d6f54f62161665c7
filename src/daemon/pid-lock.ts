/** Sees to it that there is one daemon for each root, by a locked file with the daemon's process id. */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode, fail, toDrydockError } from '../errors/index.ts';
import { tryLock } from '../linux/index.ts';
import { daemonFolder } from './address.ts';

interface PidLock {
  readonly file: string;
  release(): void;
}

/**
 * Takes the lock of a root. The kernel releases it when the process ends, however it ends. Throws `conflict`, with the
 * process that has it, and `denied` when the folder cannot be written.
 */
export function takePidLock(root: string): PidLock {
  const dir = daemonFolder(root);
  const file = join(dir, 'pid');
  let fd: number;
  try {
    mkdirSync(dir, { recursive: true, mode: 0o711 });
    fd = openSync(file, 'a+', 0o600);
  } catch (err) {
    throw fail('denied', 'host', `cannot write ${file} (${errnoCode(err) ?? 'unknown error'})`, {
      cause: err,
      hint: 'Run the daemon as a user who may write there, or choose another folder with --root.',
    });
  }
  if (!tryLock(fd)) {
    closeSync(fd);
    const pid = readFileSync(file, 'utf8').trim();
    throw fail('conflict', 'host', `a daemon${pid === '' ? '' : ` (pid ${pid})`} already serves ${root}`, {
      hint: 'Stop it first, or choose another folder with --root.',
      details: { pid: Number(pid) || 0, root },
    });
  }
  try {
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`);
  } catch (err) {
    closeSync(fd);
    throw toDrydockError(err, 'host');
  }
  return {
    file,
    release() {
      // Not unlinked: someone may have opened it and be about to lock it.
      ftruncateSync(fd);
      closeSync(fd);
    },
  };
}
