// Bundles src into dist: the library and the command, each with the entry of its worker threads, and the web page (ui).
//
// A program loads most of its code late, and goes on with the bundle that it began with. So each bundle is a folder of
// its own (dist/bundle-HASH), and dist/drydock.cjs and dist/index.js lead to the newest one. The bundles before it are
// kept for the daemons that still run from them: three of them, or none with `--only`, for a package.
import { createHash } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';
import { bundlePage } from './page.mjs';
import { straightImports } from './straight.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const outdir = join(dist, `.${process.pid}`);
const kept = process.argv.includes('--only') ? 0 : 3;
const began = new Date();

/**
 * Rooms of which a build loads nearly every file. esbuild makes a chunk of each set of files that the same entries need:
 * led past their doors, these rooms would be dozens of chunks, and opening a chunk costs more than the few files of the
 * room that were not needed.
 */
const whole = [
  ...['distribution', 'errors', 'flow', 'fs', 'linux', 'llb', 'oci', 'progress'],
  ...['records', 'store', 'words', 'workers'],
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

const small = { minifyWhitespace: true, minifySyntax: true };

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
  const { outputFiles } = await build({
    ...common,
    ...small,
    entryPoints: { cli: 'src/cli/bin.ts', tasks: 'src/worker.ts' },
    outExtension: { '.js': '.cjs' },
    sourcemap: 'inline',
    write: false,
  });
  mkdirSync(outdir, { recursive: true });
  await Promise.all(
    outputFiles.map(async ({ path, text }) => {
      const { code, map } = await commonJs(path, text);
      writeFileSync(path, `${code}//# sourceMappingURL=${basename(path)}.map\n`);
      writeFileSync(`${path}.map`, map);
    }),
  );
  writeFileSync(join(outdir, 'worker.cjs'), await wholeOf('src/cli/start-thread.ts', 'worker.cjs'));
}

/** The text that starts the command of a bundle. It lies beside the bundles and is read again at each start. */
function startOf(bundle) {
  return wholeOf('src/cli/start.ts', 'drydock.cjs', { BUNDLE: JSON.stringify(bundle) });
}

/** A file with all that it needs of ours, in one. */
async function wholeOf(file, name, define = {}) {
  const { outputFiles } = await build({
    ...common,
    ...small,
    splitting: false,
    entryPoints: { [name]: file },
    define,
    write: false,
  });
  return (await commonJs(name, outputFiles[0].text)).code;
}

function commonJs(path, text) {
  return transform(text, {
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
}

/** Under sudo: the clone's owner makes, and removes, the next one. */
function giveToOwner(paths) {
  const { uid, gid } = statSync(root);
  if (process.getuid() === 0 && uid !== 0) for (const path of paths) chownSync(path, uid, gid);
}

/** Files appear whole: a command that starts meanwhile sees the old one or the new one. */
function put(name, text) {
  const beside = join(dist, `.${name}.${process.pid}`);
  writeFileSync(beside, text);
  giveToOwner([beside]);
  renameSync(beside, join(dist, name));
}

/** All files below a folder, by their paths in it. */
function filesIn(folder) {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((each) => each.isFile())
    .map(({ parentPath, name }) => relative(folder, join(parentPath, name)));
}

function hashOf(folder) {
  const hash = createHash('sha256');
  for (const name of filesIn(folder).sort())
    hash.update(`${name}\0`).update(readFileSync(join(folder, name)));
  return hash.digest('hex').slice(0, 16);
}

await Promise.all([bundleLibrary(), bundleCommand(), bundlePage(join(outdir, 'ui'))]);
const name = `bundle-${hashOf(outdir)}`;
const bundle = join(dist, name);
giveToOwner([dist, outdir, ...readdirSync(outdir, { recursive: true }).map((file) => join(outdir, file))]);
if (existsSync(bundle)) rmSync(outdir, { recursive: true });
else renameSync(outdir, bundle);
utimesSync(bundle, new Date(), new Date());
put('index.js', `export * from './${name}/index.js';\n`);
put('drydock.cjs', await startOf(name));
// A source that changed since this bundler began is newer than its bundle, whichever bundler ends last.
utimesSync(join(dist, 'drydock.cjs'), began, began);

const age = (file) => statSync(join(dist, file)).mtimeMs;
const files = readdirSync(dist);
const others = files.filter((file) => file.startsWith('bundle-') && file !== name);
others.sort((a, b) => age(b) - age(a));
// What a bundler that was killed had made.
const left = files.filter((file) => {
  const [, pid] = /^\..*?(\d+)$/.exec(file) ?? [];
  return pid && !existsSync(`/proc/${pid}`);
});
const dropped = [...others.slice(kept), ...left];
if (kept === 0) dropped.push(join(name, '.compile-cache'));
for (const file of dropped) rmSync(join(dist, file), { recursive: true, force: true });
