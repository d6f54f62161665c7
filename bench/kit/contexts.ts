/** What is built: folders made anew for each bench. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fresh } from '../bench.ts';

const files = 5000;

/** RUN steps, then COPY of 5,000 small files in 50 folders. */
export function manyFiles(folder: string, base: string, runs = 10): string {
  const context = fresh(join(folder, 'many-files'));
  for (let i = 0; i < files; i++) {
    const dir = join(context, 'src', `d${i % 50}`);
    if (i < 50) mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, `f${i}.txt`), `file ${i}\n${'x'.repeat(i % 2000)}\n`);
  }
  const steps = Array.from({ length: runs }, (_, i) => `RUN echo step ${i} > /step${i}`);
  writeFileSync(join(context, 'Dockerfile'), [`FROM ${base}`, ...steps, 'COPY src /src', ''].join('\n'));
  return context;
}

/** Changes one of the 5,000 files. */
export function changeOneFile(context: string): void {
  writeFileSync(join(context, 'src/d7/f7.txt'), `changed ${randomBytes(8).toString('hex')}\n`);
}

/** COPY of one file of 200 MB, half of it compressible. */
export function bigFile(folder: string, base: string): string {
  const context = fresh(join(folder, 'big-file'));
  changeBigFile(context);
  writeFileSync(join(context, 'Dockerfile'), `FROM ${base}\nCOPY big.bin /big.bin\n`);
  return context;
}

/** Other bytes of the same kind and length. */
export function changeBigFile(context: string): void {
  const noise = randomBytes(1 << 20);
  const words = Buffer.from('the quick brown fox jumps over the lazy dog. '.repeat(24_000)).subarray(
    0,
    1 << 20,
  );
  const blocks = Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? noise : words));
  writeFileSync(join(context, 'big.bin'), Buffer.concat(blocks));
}

/** 20 stages that do not need each other, then one that takes a file of each. */
export function stages(folder: string, base: string): string {
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
