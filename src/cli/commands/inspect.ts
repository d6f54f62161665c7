import { inspectImage } from '../../images/inspect.ts';
import { command } from '../command.ts';

export default command({
  usage: 'IMAGE [IMAGE…]',
  summary: "Show images' details as a JSON array, in docker inspect's shape.",
  flags: {},
  operands: [1, Infinity],
  async run(_flags, args, ctx) {
    const { store } = await ctx.engine();
    const found = [];
    for (const arg of args) found.push(await inspectImage(store, arg));
    ctx.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
    return 0;
  },
});
