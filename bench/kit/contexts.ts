/** What is built: folders made anew for each bench. */
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fresh } from '../bench.ts';

const files = 5000;

/** RUN steps, then COPY of 5,000 small files in 50 folders. */
export function manyFiles(folder: string, base: string, runs = 10): string {
  const context = fresh(join(folder, 'many-files'));
  writeSmallFiles(context, files);
  const steps = Array.from({ length: runs }, (_, i) => `RUN echo step ${i} > /step${i}`);
  writeFileSync(join(context, 'Dockerfile'), [`FROM ${base}`, ...steps, 'COPY src /src', ''].join('\n'));
  return context;
}

/** `src` with small files, 100 in each folder of it. */
export function writeSmallFiles(context: string, count: number): void {
  const folders = count / 100;
  for (let i = 0; i < count; i++) {
    const dir = join(context, 'src', `d${i % folders}`);
    if (i < folders) mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, `f${i}.txt`), `file ${i}\n${'x'.repeat(i % 2000)}\n`);
  }
}

/** Changes one of the small files. */
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

/** Other bytes of the same kind and length, or of another length in MiB. */
export function changeBigFile(context: string, length = 200): void {
  const noise = randomBytes(1 << 20);
  const words = Buffer.from('the quick brown fox jumps over the lazy dog. '.repeat(24_000)).subarray(
    0,
    1 << 20,
  );
  const file = openSync(join(context, 'big.bin'), 'w');
  try {
    for (let i = 0; i < length; i++) writeSync(file, i % 2 === 0 ? noise : words);
  } finally {
    closeSync(file);
  }
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
