import { tagImage } from '../../images/index.ts';
import { command } from '../command.ts';

export default command({
  usage: 'SOURCE NAME[:TAG]',
  summary: 'Give an image another name.',
  flags: {},
  operands: [2, 2],
  async run(_flags, [source = '', name = ''], ctx) {
    const remote = await ctx.remote();
    if (remote !== undefined) {
      await (await import('../remote/images.ts')).remoteTag(remote, source, name);
      return 0;
    }
    await tagImage((await ctx.engine()).store, source, name);
    return 0;
  },
});
