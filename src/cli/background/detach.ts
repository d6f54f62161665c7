/** `drydock daemon --detach`: the daemon in a process of its own, which outlives the command. */
import { spawn } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { daemonFolder } from '../../daemon/index.ts';
import { fail } from '../../errors/index.ts';
import { commandArguments } from '../arguments.ts';
import type { CommandContext } from '../command.ts';
import { logPath, setLongLogAside } from './log-file.ts';

/** Told to the process that is to be the daemon; it says by its channel when it serves. */
const variable = 'DRYDOCK_DETACHED';

/**
 * Starts this command line without `--detach` in the background and waits until it serves. Its log is
 * appended to the file `daemon/log` of the root, which begins anew when it is long (`log.1` has what was in it). Returns its addresses. Throws `unavailable` with the end of that log when
 * it does not come up.
 */
export async function detachDaemon(root: string, { env, signal }: CommandContext): Promise<string[]> {
  const dir = daemonFolder(root);
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  const file = logPath(root);
  setLongLogAside(file);
  const log = openSync(file, 'a', 0o600);
  const { size } = fstatSync(log);
  const args = commandArguments().filter((arg) => !/^--detach(=|$)/.test(arg));
  const [program = ''] = process.argv.slice(1);
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    detached: true,
    env: { ...env, [variable]: '1' },
    stdio: ['ignore', log, log, 'ipc'],
  });
  closeSync(log);
  try {
    return await new Promise<string[]>((resolve, reject) => {
      child.once('message', (addresses) => resolve(addresses as string[]));
      child.once('error', reject);
      child.once('exit', () => reject(notUp(file, size)));
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  } catch (err) {
    child.kill('SIGTERM');
    throw err;
  } finally {
    if (child.connected) child.disconnect();
    child.unref();
  }
}

function notUp(file: string, since: number): Error {
  const words = readFileSync(file).subarray(since).toString().trimEnd().split('\n').slice(-20).join('\n');
  return fail('unavailable', 'host', `the daemon has not come up:\n${words}`, {
    hint: `Its log is ${file}.`,
  });
}

/** Whether this process is such a daemon. */
export function isDetached(env: NodeJS.ProcessEnv): boolean {
  return env[variable] !== undefined;
}

/** Tells the command that has started this process that the daemon serves at these addresses, if one has. */
export function tellParent(addresses: readonly string[], env: NodeJS.ProcessEnv): void {
  if (!isDetached(env)) return;
  delete env[variable];
  process.send?.(addresses, () => process.disconnect?.());
}
