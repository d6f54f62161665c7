/** Java's archives: what Maven, or else the manifest, says of each, and of the archives inside them. */
import { type OpenFile, withFile } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';
import { type ZipEntry, zipEntries } from './zip.ts';

/** How deep archives are looked into: an application, its modules, their libraries. */
const maxDepth = 3;
const maxText = 1 << 20;
/** The largest archive inside another one, in bytes, when it is compressed. */
const maxNested = 64 << 20;

/** Reads an archive (`.jar`, `.war`, `.ear` …) and those inside it. */
export function javaArchive(found: Found): Iterable<FoundPackage> {
  return withFile(found, (file) => artifacts(file, found.entry.name, 0, found.spend));
}

function* artifacts(
  file: OpenFile,
  name: string,
  depth: number,
  spend: Found['spend'],
): Generator<FoundPackage, void> {
  let manifest: ZipEntry | undefined;
  let told = 0;
  const nested: ZipEntry[] = [];
  for (const entry of zipEntries(file, spend)) {
    if (entry.name === 'META-INF/MANIFEST.MF') manifest = entry;
    else if (/^META-INF\/maven\/.*\/pom\.properties$/.test(entry.name)) {
      const found = pomProperties(entry.read(maxText).toString('utf8'));
      if (found === undefined) continue;
      told++;
      yield found;
    } else if (/\.(jar|war|ear)$/i.test(entry.name)) nested.push(entry);
  }
  if (told === 0) {
    const found = byManifest(manifest?.read(maxText).toString('utf8') ?? '', name);
    if (found !== undefined) yield found;
  }
  if (depth + 1 >= maxDepth) return;
  for (const entry of nested) {
    const inner = entry.stored() ?? inMemory(entry.read(maxNested));
    yield* artifacts(inner, entry.name.slice(entry.name.lastIndexOf('/') + 1), depth + 1, spend);
  }
}

function inMemory(bytes: Buffer): OpenFile {
  return { size: bytes.length, at: (offset, length) => bytes.subarray(offset, offset + length) };
}

function pomProperties(text: string): FoundPackage | undefined {
  const values = new Map(
    text.split(/\r?\n/).flatMap((line) => {
      const at = line.indexOf('=');
      return at < 0 || line.startsWith('#') ? [] : [[line.slice(0, at).trim(), line.slice(at + 1).trim()]];
    }),
  );
  const [namespace, name, version] = ['groupId', 'artifactId', 'version'].map((key) => values.get(key));
  if (!namespace || !name || !version) return undefined;
  return { kind: 'maven', namespace, name, version };
}

/** Reads the manifest, where a value may go on in the next line, and takes the file's name for what is not in it. */
function byManifest(text: string, file: string): FoundPackage | undefined {
  const values = new Map<string, string>();
  for (const line of text.replaceAll(/\r?\n /g, '').split(/\r?\n/)) {
    // Further sections are about single classes.
    if (line === '') break;
    const at = line.indexOf(':');
    if (at > 0) values.set(line.slice(0, at), line.slice(at + 1).trim());
  }
  const byName = /^(.+?)-(\d[\w.+-]*)\.\w+$/.exec(file);
  const name = byName?.[1] ?? file.replace(/\.\w+$/, '');
  const version =
    byName?.[2] ??
    values.get('Implementation-Version') ??
    values.get('Bundle-Version') ??
    values.get('Specification-Version');
  if (version === undefined) return undefined;
  const symbolic = values.get('Bundle-SymbolicName')?.split(';', 1)[0];
  const namespace = values.get('Implementation-Vendor-Id') ?? symbolic?.replace(/\.[^.]+$/, '') ?? name;
  return { kind: 'maven', namespace, name, version, supplier: values.get('Implementation-Vendor') };
}
