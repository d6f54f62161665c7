import { fail } from '../../errors/index.ts';
import { command } from '../command.ts';
import { ago, table } from '../units.ts';

/** Builds that `--list` shows. */
const mostListed = 50;

export default command({
  usage: '[BUILD]',
  summary: `Say why the steps of a build were not cached, and what they used of the machine: of the last build that ran any, or of one that --list shows
(by the beginning of its ID).`,
  flags: {
    list: { type: 'bool', help: `The last ${mostListed} builds that ran steps` },
  },
  operands: [0, 1],
  async run(flags, [wanted], ctx) {
    if ((await ctx.remote()) !== undefined) {
      throw fail('unsupported', 'client', 'explain reads the root of the machine that it runs on', {
        hint: "Run it on the daemon's machine without --host; its builds' logs have the same lines.",
      });
    }
    const [{ ExplainDb }, { usedText }] = await Promise.all([
      import('../../explain/explain-db.ts'),
      import('../../explain/used.ts'),
    ]);
    const db = new ExplainDb((await ctx.engine()).store.root);
    try {
      const builds = db.builds(wanted === undefined ? mostListed : Number.MAX_SAFE_INTEGER);
      if (flags.list) {
        const rows = builds.map(({ id, at, what, steps }) => [id.slice(0, 12), ago(at), String(steps), what]);
        ctx.stdout.write(table([['BUILD', 'BEGAN', 'STEPS RUN', 'WHAT'], ...rows]));
        return 0;
      }
      const build = builds.find(({ id }) => id.startsWith(wanted ?? ''));
      if (build === undefined) {
        throw fail(
          'not-found',
          'client',
          wanted === undefined ? 'no build has run a step yet' : `there is no build ${wanted}`,
          {
            hint: '`drydock explain --list` shows the builds that ran steps.',
          },
        );
      }
      const { id, at, what } = build;
      ctx.stdout.write(`Build ${id}${what === '' ? '' : ` of ${what}`}, ${ago(at)}\n`);
      for (const { step, line, used } of db.told(id)) {
        const lines = [line, ...(used === undefined ? [] : [usedText(used)])];
        ctx.stdout.write(`\n${step.replace(/\s+/g, ' ')}\n${lines.map((each) => `  ${each}\n`).join('')}`);
      }
      return 0;
    } finally {
      db.close();
    }
  },
});
