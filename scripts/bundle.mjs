// Bundles src into dist: the library and the command, each with the entry of its worker threads.
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';
import { straightImports } from './straight.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
// Made beside and swapped in whole: a command that is running or starting meanwhile sees the old or the new.
const outdir = `${dist}.${process.pid}`;

/**
 * Rooms of which a build loads nearly every file. esbuild makes a chunk of each set of files that the same entries need:
 * led past their doors, these rooms would be dozens of chunks, and opening a chunk costs more than the few files of the
 * room that were not needed.
 */
const whole = [
  ...['distribution', 'errors', 'flow', 'fs', 'linux', 'llb', 'oci', 'patterns', 'progress'],
  ...['store', 'words', 'workers'],
];

const common = {
  absWorkingDir: root,
  outdir,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  external: ['koffi'],
  chunkNames: '[name]-[hash]',
  sourcesContent: false,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [straightImports(join(root, 'src'), whole)],
};

/** The library, and the entry of its worker threads. */
function bundleLibrary() {
  const entryPoints = { index: 'src/index.ts', worker: 'src/worker.ts' };
  return build({ ...common, entryPoints, sourcemap: true });
}

/**
 * The command, where every ms of its start is a ms of every build: in chunks, so that a command loads its own code
 * only; CommonJS, which Node loads sooner than ES modules (and which esbuild splits only by this detour); without
 * white space, because Node reads and hashes all of a file before it takes the file's compiled code from the cache.
 */
async function bundleCommand() {
  const small = { minifyWhitespace: true, minifySyntax: true };
  const { outputFiles } = await build({
    ...common,
    ...small,
    entryPoints: { drydock: 'src/cli/start.ts', cli: 'src/cli/bin.ts', worker: 'src/worker.ts' },
    external: ['koffi', './cli.cjs'],
    outExtension: { '.js': '.cjs' },
    sourcemap: 'inline',
    write: false,
  });
  mkdirSync(outdir, { recursive: true });
  await Promise.all(
    outputFiles.map(async ({ path, text }) => {
      const { code, map } = await transform(text, {
        ...small,
        format: 'cjs',
        platform: 'node',
        target: 'node24',
        sourcefile: basename(path),
        sourcemap: 'external',
        sourcesContent: false,
        supported: { 'dynamic-import': false },
        define: { 'import.meta.url': '__url' },
        banner: text.includes('import.meta.url')
          ? 'const __url = require("node:url").pathToFileURL(__filename).href;'
          : '',
      });
      writeFileSync(path, `${code}//# sourceMappingURL=${basename(path)}.map\n`);
      writeFileSync(`${path}.map`, map);
    }),
  );
}

await Promise.all([bundleLibrary(), bundleCommand()]);
const { uid, gid } = statSync(root);
if (process.getuid() === 0 && uid !== 0) {
  // Under sudo: the clone's owner makes, and removes, the next one.
  for (const name of ['.', ...readdirSync(outdir, { recursive: true })])
    chownSync(join(outdir, name), uid, gid);
}
const old = `${outdir}.old`;
if (existsSync(dist)) renameSync(dist, old);
renameSync(outdir, dist);
rmSync(old, { recursive: true, force: true });
