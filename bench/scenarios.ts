/** What is built: contexts made anew for each bench, and how each run is prepared. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Builder, fresh, tags } from './builders.ts';
import type { Sample } from './measure.ts';

export interface Scenario {
  name: string;
  /** Gets ready for one run, untimed. */
  prepare(builder: Builder, run: number): void;
  run(builder: Builder): Promise<Sample> | undefined;
}

const files = 5000;

/** Ten RUN steps, then COPY of 5,000 small files in 50 folders. */
function manyFiles(folder: string, base: string): string {
  const context = fresh(join(folder, 'many-files'));
  for (let i = 0; i < files; i++) {
    const dir = join(context, 'src', `d${i % 50}`);
    if (i < 50) mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, `f${i}.txt`), `file ${i}\n${'x'.repeat(i % 2000)}\n`);
  }
  const runs = Array.from({ length: 10 }, (_, i) => `RUN echo step ${i} > /step${i}`);
  writeFileSync(join(context, 'Dockerfile'), [`FROM ${base}`, ...runs, 'COPY src /src', ''].join('\n'));
  return context;
}

/** COPY of one file of 200 MB, half of it compressible. */
function bigFile(folder: string, base: string): string {
  const context = fresh(join(folder, 'big-file'));
  const noise = randomBytes(1 << 20);
  const words = Buffer.from('the quick brown fox jumps over the lazy dog. '.repeat(24_000)).subarray(
    0,
    1 << 20,
  );
  const blocks = Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? noise : words));
  writeFileSync(join(context, 'big.bin'), Buffer.concat(blocks));
  writeFileSync(join(context, 'Dockerfile'), `FROM ${base}\nCOPY big.bin /big.bin\n`);
  return context;
}

/** 20 stages that do not need each other, then one that takes a file of each. */
function stages(folder: string, base: string): string {
  const context = fresh(join(folder, 'stages'));
  const lines: string[] = [];
  for (let i = 0; i < 20; i++) {
    lines.push(
      `FROM ${base} AS s${i}`,
      `RUN i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ${i} > /out${i}`,
    );
  }
  lines.push(`FROM ${base}`, ...Array.from({ length: 20 }, (_, i) => `COPY --from=s${i} /out${i} /`), '');
  writeFileSync(join(context, 'Dockerfile'), lines.join('\n'));
  return context;
}

/** All scenarios, with their contexts made under `folder`. */
export function scenarios(folder: string, base: string): Scenario[] {
  const many = manyFiles(folder, base);
  const big = bigFile(folder, base);
  const wide = stages(folder, base);
  tags.push('localhost/bench:many', 'localhost/bench:big', 'localhost/bench:wide');
  const [manyTag = '', bigTag = '', wideTag = ''] = tags;
  const archive = join(folder, 'image.tar');
  const touch = (run: number) =>
    writeFileSync(join(many, 'src/d7/f7.txt'), `changed ${run} ${randomBytes(8).toString('hex')}\n`);
  return [
    {
      name: '10 RUN + COPY of 5,000 files, cold',
      prepare: (builder) => builder.forget(),
      run: (builder) => builder.build(many, manyTag),
    },
    { name: 'the same, all cached', prepare: () => {}, run: (builder) => builder.build(many, manyTag) },
    {
      name: 'the same, one file changed',
      prepare: (_, run) => touch(run),
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
