/** Folders like those that people build. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fresh } from '../bench.ts';

export interface Project {
  context: string;
  /** Changes a source. */
  change(): void;
}

const other = () => randomBytes(8).toString('hex');

/** A context of these files. */
function contextOf(folder: string, name: string, files: Record<string, string>): string {
  const context = fresh(join(folder, name));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(context, path, '..'), { recursive: true });
    writeFileSync(join(context, path), text);
  }
  return context;
}

/** An express application, with its packages from Debian and npm. */
export function nodeApplication(folder: string, debian: string): Project {
  const source = () => `require('express')().listen(0); // ${other()}\n`;
  const context = contextOf(folder, 'node-application', {
    Dockerfile: [
      `FROM ${debian} AS build`,
      'RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm',
      'WORKDIR /app',
      'COPY package.json package-lock.json ./',
      'RUN npm ci --no-audit --no-fund',
      'COPY . .',
      'RUN node --check index.js && mkdir dist && cp -r index.js lib dist/',
      `FROM ${debian}`,
      'RUN apt-get update && apt-get install -y --no-install-recommends nodejs && rm -rf /var/lib/apt/lists/*',
      'WORKDIR /app',
      'COPY --from=build /app/node_modules node_modules',
      'COPY --from=build /app/dist .',
      'CMD ["node", "index.js"]',
      '',
    ].join('\n'),
    '.dockerignore': 'node_modules\n.git\n',
    'package.json': JSON.stringify({
      name: 'application',
      version: '1.0.0',
      dependencies: { express: '4.21.2', lodash: '4.17.21', react: '18.3.1', 'react-dom': '18.3.1' },
      devDependencies: { typescript: '5.7.3', esbuild: '0.24.2' },
    }),
    'index.js': source(),
    ...Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`lib/part${i}.js`, `exports.n = ${i};\n`])),
  });
  execFileSync('npm', ['install', '--package-lock-only', '--no-audit', '--no-fund'], {
    cwd: context,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return { context, change: () => writeFileSync(join(context, 'index.js'), source()) };
}

/** A program whose 60 parts are compiled in a RUN each. */
export function smallC(folder: string, debian: string): Project {
  const parts = 60;
  const part = (i: number) => `int part${i}(int n) { return n * ${i} + ${i % 7}; } // ${other()}\n`;
  const names = Array.from({ length: parts }, (_, i) => `part${i}`);
  const main = [
    ...names.map((name) => `int ${name}(int);`),
    'int main(void) { return (',
    names.map((name) => `${name}(1)`).join(' + '),
    ') & 1; }',
    '',
  ].join('\n');
  const context = contextOf(folder, 'small-c', {
    Dockerfile: [
      `FROM ${debian} AS build`,
      'RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev',
      'WORKDIR /src',
      ...names.flatMap((name) => [`COPY ${name}.c .`, `RUN gcc -O2 -c ${name}.c`]),
      'COPY main.c .',
      'RUN gcc -O2 -static -o program main.c *.o',
      'FROM scratch',
      'COPY --from=build /src/program /program',
      '',
    ].join('\n'),
    'main.c': main,
    ...Object.fromEntries(names.map((name, i) => [`${name}.c`, part(i)])),
  });
  // Half of the steps are to be run again.
  return { context, change: () => writeFileSync(join(context, `part${parts / 2}.c`), part(parts / 2)) };
}

/** 100,000 files, of which a .dockerignore leaves 20,000 and the image takes 2,000. */
export function monorepo(folder: string, base: string): Project {
  const context = contextOf(folder, 'monorepo', {
    Dockerfile: [
      `FROM ${base}`,
      'COPY packages/p7/src /app/src',
      'COPY packages/*/package.json /app/manifests/',
      'RUN find /app -type f | wc -l > /count',
      '',
    ].join('\n'),
    '.dockerignore': '.git\n**/node_modules\n**/*.log\n!packages/p7/src/kept.log\n',
  });
  for (let p = 0; p < 10; p++) {
    const root = join(context, 'packages', `p${p}`);
    for (const [dir, count] of [
      ['src', 2000],
      ['node_modules', 8000],
    ] as const) {
      for (let i = 0; i < count; i++) {
        const at = join(root, dir, `d${i % 40}`);
        if (i < 40) mkdirSync(at, { recursive: true });
        writeFileSync(join(at, `f${i}.js`), `exports.n = ${i};\n${'// x\n'.repeat(i % 50)}`);
      }
    }
    writeFileSync(join(root, 'package.json'), `{"name":"p${p}"}\n`);
  }
  writeFileSync(join(context, 'packages/p7/src/kept.log'), 'kept\n');
  const path = join(context, 'packages/p7/src/d3/f3.js');
  return { context, change: () => writeFileSync(path, `exports.n = '${other()}';\n`) };
}

/** 30 stages: fourteen chains of two that begin at one, and a last one that takes a file of each. */
export function manyStages(folder: string, base: string): Project {
  const lines = [`FROM ${base} AS start`, 'COPY shared /shared', 'RUN cp /shared /made'];
  for (let i = 0; i < 14; i++) {
    lines.push(
      `FROM start AS compile${i}`,
      `COPY source${i} /source`,
      `RUN cat /made /source > /object${i}`,
      `FROM compile${i} AS test${i}`,
      `RUN test -s /object${i} && cp /object${i} /tested${i}`,
    );
  }
  lines.push(
    'FROM scratch',
    ...Array.from({ length: 14 }, (_, i) => `COPY --from=test${i} /tested${i} /`),
    '',
  );
  const context = contextOf(folder, 'stages-30', {
    Dockerfile: lines.join('\n'),
    shared: 'shared\n',
    ...Object.fromEntries(Array.from({ length: 14 }, (_, i) => [`source${i}`, `source ${i}\n`])),
  });
  return { context, change: () => writeFileSync(join(context, 'source5'), `source ${other()}\n`) };
}
