import { resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fail } from '../../errors/index.ts';
import { saveImages } from '../../images/index.ts';
import { formatPlatform, parsePlatform } from '../../oci/index.ts';
import { dockerConfigCredentials } from '../../session/index.ts';
import { type CommandContext, command } from '../command.ts';
import { OutputFile } from '../output-file.ts';

export default command({
  usage: 'IMAGE [IMAGE…]',
  summary: 'Save images to a tar that `drydock load`, `docker load` and OCI tools read.',
  flags: {
    output: { type: 'string', short: 'o', value: 'FILE', help: 'File to write (default: stdout)' },
    platform: { type: 'list', value: 'OS/ARCH', help: 'Of these platforms alone' },
  },
  operands: [1, Infinity],
  fills: true,
  async run(flags, args, ctx) {
    if (flags.output === undefined || flags.output === '-') {
      if (ctx.stdout.isTTY) {
        throw fail('invalid', 'client', 'refusing to write a tar to a terminal', {
          hint: 'Name a file with -o, or send stdout into a file or a pipe.',
        });
      }
      await write(ctx, args, flags.platform, ctx.stdout);
      return 0;
    }
    const file = new OutputFile(resolve(flags.output));
    try {
      await write(ctx, args, flags.platform, await file.open(ctx.signal));
      await file.finish();
    } catch (err) {
      await file.abandon();
      throw err;
    }
    return 0;
  },
});

async function write(
  ctx: CommandContext,
  names: readonly string[],
  wanted: readonly string[],
  out: Writable,
): Promise<void> {
  const platforms = wanted.flatMap((text) => text.split(',')).map(parsePlatform);
  const { signal } = ctx;
  const remote = await ctx.remote();
  if (remote !== undefined) {
    const { ask } = await import('../remote/endpoint.ts');
    const request = {
      method: 'GET',
      path: '/images/get',
      query: { names, platform: platforms.map(formatPlatform) },
      signal,
    };
    await pipeline(await ask(remote.endpoint, request), out, { signal, end: out !== ctx.stdout });
    return;
  }
  const { store, registry } = await ctx.engine();
  const credentials = dockerConfigCredentials(ctx.env);
  await saveImages(store, [...names], out, { signal, client: registry, credentials, platforms });
}
