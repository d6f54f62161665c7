import { fail } from '../../errors/index.ts';
import { buildFlags } from '../build/flags.ts';
import { command } from '../command.ts';
import { outputTarget } from '../output-target.ts';
import { runBuildCommand } from './build.ts';

/** The flags of a build that have no meaning where only its sources are wanted. */
const outputs = [
  'output',
  'load',
  'push',
  'tag',
  'iidfile',
  'metadata-file',
  'cache-to',
  'call',
  'check',
  'verify-reproducible',
  'watch',
] as const;

export default command({
  usage: 'CONTEXT',
  summary:
    'Build as `drydock build` would, keep no result, and write a source policy that pins every source that was used: images, git repositories, files of web servers. `drydock build --source-policy FILE` and buildx obey it.',
  flags: {
    ...buildFlags,
    'lock-file': { type: 'string', value: 'FILE', help: 'The file to write (default drydock.lock.json)' },
  },
  operands: [1, 1],
  fills: true,
  async run({ 'lock-file': file = 'drydock.lock.json', ...flags }, [context = '.'], ctx) {
    for (const name of outputs) {
      const value = flags[name];
      if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) continue;
      throw fail('invalid', 'client', `drydock lock has no --${name}: it keeps no result`, {
        hint: 'Leave it out, and give it to `drydock build --source-policy`.',
      });
    }
    if ((await ctx.remote()) !== undefined) {
      throw fail('unsupported', 'client', 'drydock lock works without a daemon alone', {
        hint: 'Leave --host and DRYDOCK_HOST out; a daemon obeys the lock, wherever it was made.',
      });
    }
    await outputTarget(file);
    const code = await runBuildCommand({ ...flags, output: ['type=cacheonly'] }, context, ctx, file);
    if (code === 0 && !flags.quiet) ctx.stderr.write(`\nWrote ${file}\n`);
    return code;
  },
});
