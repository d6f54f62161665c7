/**
 * The licences that a Debian package declares in its file `copyright`, where that has Debian's machine-readable form.
 * https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
 */
import { type FsView, readFileIn } from '../../fs/index.ts';

/** The largest file, in bytes, that is looked into. */
const maxFile = 2 << 20;

/**
 * The licences of the parts of a package, in SPDX's words where it has any; each of them once. Undefined where the file
 * is missing (images may leave documentation out), or is a text for people: what that means is nobody's guess here.
 */
export function debianLicenses(view: FsView, name: string): string[] | undefined {
  let text: string;
  try {
    text = readFileIn(view, `/usr/share/doc/${name}/copyright`, maxFile)?.toString('latin1') ?? '';
  } catch {
    return undefined;
  }
  if (!/^format(-specification)?:/i.test(text.slice(0, 30))) return undefined;
  const [header, ...paragraphs] = paragraphsOf(text);
  const ofFiles = paragraphs.filter(({ files }) => files.length > 0);
  // The packaging's own files are in no package.
  const shipped = ofFiles.filter(({ files }) => !files.every((path) => /^(\.\/)?debian\//.test(path)));
  const found = (shipped.length > 0 ? shipped : ofFiles).flatMap(({ license }) => license || []);
  const names = new Set(found.length > 0 ? found : [header?.license || []].flat());
  return names.size === 0 ? undefined : [...new Set([...names].map(spdxOf))];
}

/** What matters of a paragraph: the files that it is about, and the first line of its licence. */
interface Paragraph {
  files: string[];
  license?: string;
}

/** Reads the paragraphs of a file. The texts of licences are most of it, and are passed over. */
function paragraphsOf(text: string): Paragraph[] {
  const all: Paragraph[] = [];
  let at: Paragraph | undefined;
  let inFiles = false;
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    const first = text.charCodeAt(start);
    const goesOn = first === 32 || first === 9;
    // Few lines matter: the beginning of these two fields, what goes on of files, and the empty ones.
    const matters = goesOn ? inFiles : end - start < 2 || first === 70 || first === 76 || first > 96;
    const line = matters ? text.slice(start, end).trim() : undefined;
    start = end + 1;
    if (line === undefined) {
      if (!goesOn) inFiles = false;
      continue;
    }
    if (line === '') {
      at = undefined;
      inFiles = false;
      continue;
    }
    if (at === undefined) {
      at = { files: [] };
      all.push(at);
    }
    if (!goesOn) inFiles = /^files:/i.test(line);
    if (inFiles)
      at.files.push(
        ...line
          .replace(/^files:/i, '')
          .split(/\s+/)
          .filter(Boolean),
      );
    else if (/^license:/i.test(line)) at.license ||= utf8(line.slice('license:'.length).trim());
  }
  return all;
}

/** A text that was read byte by byte. */
function utf8(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** Debian's names of licences that SPDX writes in another way, in small letters. */
const names: Readonly<Record<string, string>> = {
  expat: 'MIT',
  mit: 'MIT',
  'apache-2': 'Apache-2.0',
  'apache-2.0': 'Apache-2.0',
  'bsd-2-clause': 'BSD-2-Clause',
  'bsd-3-clause': 'BSD-3-Clause',
  'bsd-4-clause': 'BSD-4-Clause',
  artistic: 'Artistic-1.0',
  'artistic-1': 'Artistic-1.0',
  'artistic-2': 'Artistic-2.0',
  'boost-1.0': 'BSL-1.0',
  cc0: 'CC0-1.0',
  isc: 'ISC',
  'mpl-1.1': 'MPL-1.1',
  'mpl-2.0': 'MPL-2.0',
  perl: 'GPL-1.0-or-later OR Artistic-1.0',
  'psf-2': 'PSF-2.0',
  unicode: 'Unicode-DFS-2016',
  zlib: 'Zlib',
};

/** One licence of Debian's as SPDX writes it, as far as it is known there; else as it is. */
function spdxOf(synopsis: string): string {
  const words = synopsis.split(/\s+/);
  // `and` binds more tightly in both languages; a comma, which says that it does not, stays Debian's own.
  const isPlain = words.every((word, i) => (i % 2 === 0 ? !/[,]/.test(word) : /^(and|or)$/i.test(word)));
  if (!isPlain || words.length % 2 === 0) return synopsis;
  return words.map((word, i) => (i % 2 === 0 ? identifierOf(word) : word.toUpperCase())).join(' ');
}

function identifierOf(name: string): string {
  const known = Object.hasOwn(names, name.toLowerCase()) ? names[name.toLowerCase()] : undefined;
  if (known !== undefined) return / OR /.test(known) ? `(${known})` : known;
  const [, family, major, minor = '.0', later] =
    /^([AL]?GPL|GFDL)-(\d)(\.\d)?(?:\.0)?(\+?)$/.exec(name) ?? [];
  if (family === undefined) return name;
  return `${family}-${major}${minor}-${later === '+' ? 'or-later' : 'only'}`;
}
