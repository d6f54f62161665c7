// Bundles the web page (ui/) into a folder: the document, its script and its style sheet, whose names have their hashes,
// each also packed by gzip, and a list of them (manifest.json), by which the daemon serves them.
// `node scripts/page.mjs [FOLDER]`: default dist/ui, from where a daemon takes it that runs from the sources.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const types = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
};

/** Bundles the page into a folder, which appears whole. */
export async function bundlePage(folder) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: { app: 'ui/main.tsx' },
    outdir: folder,
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['chrome115', 'firefox115', 'safari16.4'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    logLevel: 'warning',
    write: false,
  });
  const beside = `${folder}.${process.pid}`;
  rmSync(beside, { recursive: true, force: true });
  mkdirSync(beside, { recursive: true });
  const manifest = {};
  const put = (name, ext, bytes, lasting) => {
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
    const full = lasting ? `${name}-${hash}${ext}` : `${name}${ext}`;
    writeFileSync(join(beside, full), bytes);
    writeFileSync(join(beside, `${full}.gz`), gzipSync(bytes, { level: 9 }));
    manifest[full] = { type: types[ext], lasting, hash };
    return full;
  };
  const named = {};
  for (const ext of ['.js', '.css']) {
    const file = outputFiles.find(({ path }) => path.endsWith(ext));
    named[ext] = put('app', ext, Buffer.from(file.contents), true);
  }
  const html = readFileSync(join(root, 'ui/index.html'), 'utf8');
  put(
    'index',
    '.html',
    html.replace('STYLE', `/ui/${named['.css']}`).replace('SCRIPT', `/ui/${named['.js']}`),
    false,
  );
  writeFileSync(join(beside, 'manifest.json'), JSON.stringify(manifest));
  rmSync(folder, { recursive: true, force: true });
  renameSync(beside, folder);
}

if (process.argv[1] === import.meta.filename) {
  const folder = resolve(process.argv[2] ?? join(root, 'dist/ui'));
  mkdirSync(dirname(folder), { recursive: true });
  await bundlePage(folder);
}
