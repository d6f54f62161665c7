import { spawn } from 'node:child_process';
import { errnoCode, fail } from '../../errors/index.ts';
import { rootlessProblem } from '../../linux/index.ts';
import type { Command } from '../command.ts';

/** Programs say so when they end by a signal. */
const signals: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

const unshare: Command = {
  usage: 'COMMAND [ARGUMENT…]',
  summary: `Run a command as root of the user namespace in which Drydock builds for a user who is not root: a program that
uses Drydock as a library, or a look at the files of a root. For root it just runs the command.`,
  flags: {},
  async run(argv, ctx) {
    const [command, ...args] = argv[0] === '--' ? argv.slice(1) : argv;
    if (command === undefined) {
      throw fail('invalid', 'client', 'this command takes at least 1 argument, not 0', {
        hint: 'Usage: drydock unshare COMMAND [ARGUMENT…]',
      });
    }
    const problem = rootlessProblem();
    if (problem !== undefined) {
      throw fail('denied', 'host', `there is no user namespace: ${problem.why}`, { hint: problem.remedy });
    }
    const child = spawn(command, args, { stdio: 'inherit', env: ctx.env });
    // Ctrl-C goes to the command too, which decides what it means; other signals come to this process alone.
    const forward = () => void child.kill('SIGTERM');
    ctx.signal.addEventListener('abort', forward);
    try {
      return await new Promise<number>((resolve, reject) => {
        child.once('error', (cause) => {
          const missing = errnoCode(cause) === 'ENOENT';
          reject(
            fail(missing ? 'not-found' : 'denied', 'host', `cannot start ${command}: ${cause.message}`, {
              cause,
            }),
          );
        });
        child.once('exit', (code, signal) => resolve(code ?? 128 + (signals[signal ?? ''] ?? 0)));
      });
    } finally {
      ctx.signal.removeEventListener('abort', forward);
    }
  },
};
export default unshare;
