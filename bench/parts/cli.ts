/** The command beside dockerd's BuildKit and buildah. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Bench, commandBefore } from '../bench.ts';
import { serveBase } from '../kit/base.ts';
import { compare, comparison } from '../kit/compare.ts';
import { buildah, dockerd, drydock } from './cli-builders.ts';
import { scenarios } from './cli-scenarios.ts';

export async function cli(bench: Bench): Promise<string> {
  const base = await serveBase(bench);
  const others =
    commandBefore === undefined
      ? [await dockerd(bench, base), ...buildah(bench, base)]
      : [drydock(bench, base, 'before', commandBefore)];
  const builders = [drydock(bench, base), ...others];
  const archive = join(bench.folder, 'image.tar');
  const list = scenarios(bench.folder, base, archive).map((scenario) => ({
    ...scenario,
    prepare: (...args: Parameters<typeof scenario.prepare>) => {
      rmSync(archive, { force: true });
      return scenario.prepare(...args);
    },
  }));
  const results = await compare(bench, builders, list);
  const [own = '', ...peers] = builders.map(({ name }) => name);
  return [
    `Medians of ${bench.runs}.`,
    comparison(results, { ours: [own], peers }),
    builders.map((builder) => `- ${builder.version}`).join('\n'),
  ].join('\n\n');
}
