/** Makes docs/performance.md of what the parts have measured. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';

/** The machine that is measured on, in one line, and how busy it is with other things. */
export function machine(): string {
  const model = cpus()[0]?.model ?? 'a processor without a name';
  const memory = `${Math.round(totalmem() / 1e9)} GB`;
  const busy = (loadavg()[0] ?? 0).toFixed(1);
  return `${cpus().length} cores (${model}), ${memory} of memory, Linux ${release()}, Node ${process.version}; load before: ${busy}`;
}

const intro = `# Performance

Drydock beside the builders that it replaces, on one machine, in the same minutes. All numbers on this page were written
by \`npm run bench -- all\`; the page is made anew by it and not edited by hand.

## How to read it
- Ratios are ours ÷ theirs: 0.50 is half the time. Where there are several peers, ours is compared with the best of them
  in that scenario.
- CPU is processor time of everything that took part: client, daemon, its containerd and the containers. It says more
  than time on a busy machine.
- "load before" is the machine's load average when a part began: on a quiet machine it is below 1, and times are to be
  trusted; otherwise look at CPU only.
- Memory is the highest sum of resident memory of those processes.
- "local" and "containerd" are the stores. A cell with – is something that a builder cannot do, or failed at.

## How to repeat it
\`\`\`sh
npm run bench -- all            # every part, then this page
npm run bench -- images 3       # one part, three runs
npm run bench -- all --quick    # the small sizes alone, once
npm run bench -- growth --heavy # the large sizes too, which take hours
\`\`\`

CONTRIBUTING.md lists the parts, and the variables that name the peers. A peer that is not found is left out.
`;

/** Writes the page of the parts' reports in `bench/out`. */
export function writePerformance(parts: readonly string[]): void {
  const sections = parts.flatMap((name) => {
    const file = join(import.meta.dirname, 'out', `${name}.md`);
    if (!existsSync(file)) return [];
    const report = readFileSync(file, 'utf8').trim();
    return [report.replace(/^# Benchmark: .*$/m, `## ${name}`)];
  });
  const page = join(import.meta.dirname, '../docs/performance.md');
  writeFileSync(page, `${[intro.trim(), ...sections].join('\n\n')}\n`);
}
