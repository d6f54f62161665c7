/** What is wrong with a runtime that has started nothing and has not said why. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type DrydockError, errnoCode, fail } from '../errors/index.ts';
import { searchPath } from './runtime.ts';

const run = promisify(execFile);
const hint =
  'Install a newer one, or have `step-runtime` (DRYDOCK_STEP_RUNTIME) name another; without it the one that works is found.';

/**
 * Asks a runtime for its flags. The error says that it is not there, or does not start, or is too old for steps, whose
 * containers are kept until what they used is known (`run --keep`). Undefined: nothing is wrong that can be told so.
 */
export async function runtimeFault(command: string): Promise<DrydockError | undefined> {
  const help = await output(command, ['run', '--help']);
  if (help instanceof Error) {
    const code = errnoCode(help);
    const { stderr = '' } = help as { stderr?: string };
    const said = stderr.trim().split('\n').at(-1) || 'it says nothing to `run --help`';
    const why = code === 'ENOENT' ? 'it is not there' : code === 'EACCES' ? 'it may not be executed' : said;
    return fail('unavailable', 'exec', `${command} cannot run steps: ${why}`, { hint });
  }
  if (help.includes('--keep')) return undefined;
  const version = await output(command, ['--version']);
  const name = version instanceof Error ? '' : (version.split('\n')[0] ?? '').trim();
  const which = name === '' ? command : `${command} (${name})`;
  return fail(
    'unsupported',
    'exec',
    `${which} is too old to run steps, or no OCI runtime: its run has no --keep`,
    {
      hint,
    },
  );
}

/** What a program writes; the error when it does not start or ends with another code than 0. */
async function output(command: string, args: string[]): Promise<string | Error> {
  try {
    const { stdout, stderr } = await run(command, args, {
      timeout: 5000,
      env: { PATH: searchPath, LC_ALL: 'C' },
    });
    return stdout + stderr;
  } catch (err) {
    return err as Error;
  }
}
