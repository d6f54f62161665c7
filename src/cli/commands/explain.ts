import type { Report } from '../../explain/index.ts';
import { inert } from '../../words/index.ts';
import { command } from '../command.ts';
import { ago, table } from '../units.ts';

export default command({
  usage: '[BUILD [BUILD]]',
  summary: `Say why the steps of a build were not cached, and what they used of the machine: of the last build, or of one that --list shows
or drydock history ls has (by the beginning of its ID). Of two builds: what differs between their steps.`,
  flags: {
    list: { type: 'bool', help: 'The last 50 builds, and how many steps each ran' },
  },
  operands: [0, 2],
  async run(flags, [first, second], ctx) {
    const remote = await ctx.remote();
    let report: Report;
    if (remote !== undefined) {
      const { remoteExplain } = await import('../remote/explain.ts');
      report = await remoteExplain(remote, { list: flags.list === true, builds: [first, second] });
    } else {
      const { buildReport, comparedBuilds, listedBuilds } = await import('../../explain/reports.ts');
      const { root } = (await ctx.engine()).store;
      const place = { folder: root, listDb: `${root}/lists.db` };
      const [one, two] = await idsIn(root, [first, second]);
      if (flags.list) report = { builds: listedBuilds(place), steps: [] };
      else if (one === undefined || two === undefined) report = buildReport(place, one);
      else report = await comparedBuilds(place, one, two);
    }
    const { builds, steps } = report;
    if (flags.list) {
      const rows = builds.map(({ id, at, what, steps }) => [id.slice(0, 12), ago(at), String(steps), what]);
      ctx.stdout.write(table([['BUILD', 'BEGAN', 'STEPS RUN', 'WHAT'], ...rows]));
      return 0;
    }
    for (const [i, { id, at, what, cached }] of builds.entries()) {
      const name = builds.length === 1 ? 'Build' : i === 0 ? 'First build' : 'Second build';
      ctx.stdout.write(`${name} ${id}${what === '' ? '' : ` of ${inert(what)}`}, ${ago(at)}\n`);
      if (cached !== undefined) ctx.stdout.write(`  all of its ${cached} steps were cached\n`);
    }
    for (const { step, lines } of steps) {
      ctx.stdout.write(
        `\n${inert(step.replace(/\s+/g, ' '))}\n${lines.map((each) => `  ${inert(each)}\n`).join('')}`,
      );
    }
    return 0;
  },
});

/** The builds' IDs, where the history of the root knows them by the words. */
async function idsIn(root: string, words: readonly (string | undefined)[]) {
  if (words[0] === undefined) return words;
  const [{ openHistory }, { explainedAs }, { everybody }] = await Promise.all([
    import('../../api/buildkit/history/open.ts'),
    import('../../api/buildkit/history/explained-as.ts'),
    import('../history/builds.ts'),
  ]);
  const history = openHistory(root);
  return explainedAs(history, everybody, words).finally(() => history.close());
}
