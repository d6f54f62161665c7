// Bundles the web page (ui/) into a folder: the document, which has the style and asks for the first data (ui/start.ts),
// its script and its style sheet (for archives), whose names have their hashes, each also packed by gzip, and a list of
// them (manifest.json), by which the daemon serves them.
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
    entryPoints: { app: 'ui/main.tsx', start: 'ui/start.ts' },
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
  const put = (name, ext, bytes, lasting, inline) => {
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
    const full = lasting ? `${name}-${hash}${ext}` : `${name}${ext}`;
    writeFileSync(join(beside, full), bytes);
    writeFileSync(join(beside, `${full}.gz`), gzipSync(bytes, { level: 9 }));
    manifest[full] = { type: types[ext], lasting, hash, inline };
    return full;
  };
  const textOf = (name) => Buffer.from(outputFiles.find(({ path }) => path.endsWith(`/${name}`)).contents);
  const script = put('app', '.js', textOf('app.js'), true);
  const style = textOf('app.css').toString().trim();
  put('app', '.css', Buffer.from(style), true);
  const start = textOf('start.js').toString().trim();
  const html = readFileSync(join(root, 'ui/index.html'), 'utf8');
  const parts = { '/*STYLE*/': style, '/*START*/': start, SCRIPT: `/ui/${script}` };
  const document = html.replace(/\/\*(?:STYLE|START)\*\/|SCRIPT/g, (part) => parts[part]);
  // What the document has in itself is allowed by its hash.
  put('index', '.html', document, false, { script: sha256(start), style: sha256(style) });
  writeFileSync(join(beside, 'manifest.json'), JSON.stringify(manifest));
  rmSync(folder, { recursive: true, force: true });
  renameSync(beside, folder);
}

function sha256(text) {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

if (process.argv[1] === import.meta.filename) {
  const folder = resolve(process.argv[2] ?? join(root, 'dist/ui'));
  mkdirSync(dirname(folder), { recursive: true });
  await bundlePage(folder);
}
