import { tagImage } from '../../images/tag.ts';
import { command } from '../command.ts';

export default command({
  usage: 'SOURCE NAME[:TAG]',
  summary: 'Give an image another name.',
  flags: {},
  operands: [2, 2],
  async run(_flags, [source = '', name = ''], ctx) {
    await tagImage((await ctx.engine()).store, source, name);
    return 0;
  },
});
