import { pushImage } from '../../images/index.ts';
import { parsePlatform } from '../../oci/index.ts';
import { dockerConfigCredentials } from '../../session/index.ts';
import { command } from '../command.ts';
import { showTransfer } from '../transfer.ts';

export default command({
  usage: 'NAME[:TAG] [TARGET]',
  summary: 'Push an image to the registry that its name, or TARGET, says.',
  flags: {
    platform: { type: 'string', value: 'OS/ARCH', help: 'Of this platform alone' },
    quiet: { type: 'bool', short: 'q', help: 'Print nothing but the reference pushed' },
  },
  operands: [1, 2],
  fills: true,
  async run(flags, [name = '', target], ctx) {
    const platform = flags.platform === undefined ? undefined : parsePlatform(flags.platform);
    const mode = flags.quiet ? 'quiet' : 'auto';
    const remote = await ctx.remote();
    if (remote !== undefined) {
      const { remotePush, remoteTag } = await import('../remote/images.ts');
      if (target !== undefined) await remoteTag(remote, name, target);
      const { ref, digest, size } = await showTransfer(ctx, mode, `pushing ${target ?? name}`, (report) =>
        remotePush(remote, target ?? name, flags.platform, report),
      );
      ctx.stdout.write(flags.quiet ? `${ref}\n` : `${ref} digest: ${digest} size: ${size}\n`);
      return 0;
    }
    const { store, registry } = await ctx.engine();
    const pushed = await showTransfer(ctx, mode, `pushing ${target ?? name}`, (report) =>
      pushImage(store, registry, name, target ?? name, {
        report,
        platform,
        signal: ctx.signal,
        credentials: dockerConfigCredentials(ctx.env),
      }),
    );
    if (flags.quiet) ctx.stdout.write(`${pushed.ref}\n`);
    else ctx.stdout.write(`${pushed.ref} digest: ${pushed.target.digest} size: ${pushed.target.size}\n`);
    return 0;
  },
});
