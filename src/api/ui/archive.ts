/**
 * A build as one document that opens in any browser, without a daemon and without a network: the page with its script
 * and its style, and the data of the build in place of the API.
 */
import { createHash } from 'node:crypto';
import { isDue, nextTurn } from '../../workers/index.ts';
import { assets } from './assets.ts';
import type { BuildModel } from './build-model.ts';
import type { BuildDetail } from './types.ts';

/** The most bytes of one step's lines, and of all steps' together. */
const mostOfStep = 16 << 20;
const mostOfAll = 64 << 20;
const together = 2000;

interface Archived {
  detail: BuildDetail;
  model: BuildModel;
  /** By digest, the documents that are stated of the build, as JSON. */
  documents: ReadonlyMap<string, string>;
}

/** The text of the document, in pieces. Throws `unsupported` where there is no page. */
export async function* archiveOf({ detail, model, documents }: Archived): AsyncGenerator<string> {
  const files = await assets();
  const textOf = (ext: string) =>
    [...files].find(([name]) => name.endsWith(ext))?.[1].plain.toString('utf8') ?? '';
  const [script, style] = [textOf('.js'), textOf('.css')];
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(script)}'`,
    `style-src '${hashOf(style)}'`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  yield [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    '<link rel="icon" href="data:,">',
    `<title>${escaped(detail.name || detail.ref)}</title>`,
    `<style>${style}</style>`,
    '</head>',
    '<body>',
    '<div id="page"></div>',
    `<script type="application/json" id="archive">{"build":${json(detail)},"documents":{`,
  ].join('\n');
  let comma = '';
  for (const [digest, text] of documents) {
    yield `${comma}${json(digest)}:${json(parsed(text))}`;
    comma = ',';
  }
  yield '},"logs":{';
  comma = '';
  let left = mostOfAll;
  for (const { digest } of detail.stepList) {
    const log = model.logOf(digest);
    if (log === undefined || log.total === 0) continue;
    yield `${comma}${json(digest)}:[`;
    comma = ',';
    let size = Math.min(mostOfStep, left);
    let between = '';
    for (let from = 0; from < log.total; ) {
      if (isDue()) await nextTurn();
      const { lines } = log.lines(from, together);
      from += lines.length;
      const text = lines.map(({ text, stream, at }) => json([text, stream, Math.round(at)])).join(',');
      size -= text.length;
      left -= text.length;
      if (size < 0 || lines.length === 0) {
        yield `${between}${json(['[the rest is not in the archive]', 2, 0])}`;
        break;
      }
      yield between + text;
      between = ',';
    }
    yield ']';
  }
  yield `}}</script>\n<script type="module">${script}</script>\n</body>\n</html>\n`;
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

/** JSON that is safe in a document: nothing in it ends a script or begins a comment. */
function json(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}

/** A statement as a value. What is no JSON is a text, and cannot end the archive's own. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`);
}
