import type { Scenario } from '../kit/compare.ts';
import { bigFile, changeOneFile, manyFiles, stages } from '../kit/contexts.ts';
import { type Builder, tags } from './cli-builders.ts';

/** All scenarios, with their contexts made under `folder`; archives go to `archive`. */
export function scenarios(folder: string, base: string, archive: string): Scenario<Builder>[] {
  const many = manyFiles(folder, base);
  const big = bigFile(folder, base);
  const wide = stages(folder, base);
  tags.push('localhost/bench:many', 'localhost/bench:big', 'localhost/bench:wide');
  const [manyTag = '', bigTag = '', wideTag = ''] = tags;
  return [
    {
      name: '10 RUN + COPY of 5,000 files, cold',
      prepare: (builder) => builder.forget(),
      run: (builder) => builder.build(many, manyTag),
    },
    { name: 'the same, all cached', prepare: () => {}, run: (builder) => builder.build(many, manyTag) },
    {
      name: 'the same, one file changed',
      prepare: () => changeOneFile(many),
      run: (builder) => builder.build(many, manyTag),
    },
    {
      name: 'COPY of 200 MB, archive, plain layers',
      prepare: (builder) => builder.forget(),
      run: (builder) => builder.archive(big, bigTag, archive, false),
    },
    {
      name: 'COPY of 200 MB, OCI archive, gzip layers',
      prepare: (builder) => builder.forget(),
      run: (builder) => builder.archive(big, bigTag, archive, true),
    },
    {
      name: '20 independent stages, cold',
      prepare: (builder) => builder.forget(),
      run: (builder) => builder.build(wide, wideTag),
    },
  ];
}
