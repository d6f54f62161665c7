import { inspectImage } from '../../images/index.ts';
import { command } from '../command.ts';

export default command({
  usage: 'IMAGE [IMAGE…]',
  summary: "Show images' details as a JSON array, in docker inspect's shape.",
  flags: {},
  operands: [1, Infinity],
  async run(_flags, args, ctx) {
    const remote = await ctx.remote();
    const found = [];
    if (remote !== undefined) {
      const { remoteInspect } = await import('../remote/images.ts');
      for (const arg of args) found.push(await remoteInspect(remote, arg));
      ctx.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
      return 0;
    }
    const { store } = await ctx.engine();
    for (const arg of args) found.push(await inspectImage(store, arg));
    ctx.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
    return 0;
  },
});
