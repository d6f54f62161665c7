// The end of a job that setup-drydock has begun: the builder goes, and the daemon stops when what it writes elsewhere (a
// shared cache) is written. actions/cache, named before setup-drydock in the job, then keeps a folder that is whole.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { failed, input, run, say, state, works } from './runner.mjs';

try {
  const [program, ...args] = JSON.parse(state('command') || '[]');
  if (state('builder') !== '') works('docker', 'buildx', 'rm', state('builder'));
  if (program !== undefined) {
    run(program, ...args, 'daemon', '--stop');
    const folder = /^dir:([^?]+)/.exec(input('shared-cache'))?.[1];
    if (program === 'sudo') {
      // Whoever keeps the folder is the job's user.
      if (folder !== undefined && existsSync(folder))
        run('sudo', '-n', 'chown', '-R', `${process.getuid()}:${process.getgid()}`, folder);
      if (process.env.RUNNER_DEBUG === '1') process.stdout.write(run('sudo', '-n', 'cat', logOf(args)));
    } else if (process.env.RUNNER_DEBUG === '1') process.stdout.write(readFileSync(logOf(args)));
  } else say('notice', 'no daemon was started');
} catch (err) {
  failed(err);
}

function logOf(args) {
  return join(args[args.indexOf('--root') + 1], 'daemon/log');
}
