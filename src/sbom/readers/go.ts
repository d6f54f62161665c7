/**
 * The modules that a Go program was made of, from the build information that the linker puts into it.
 * https://pkg.go.dev/debug/buildinfo and Go's own src/debug/buildinfo/buildinfo.go describe its two forms.
 */
import type { OpenFile } from '../lines.ts';
import type { FoundPackage } from '../types.ts';
import { type Elf, numbersOf } from './elf.ts';

const magic = Buffer.from('\xff Go buildinf:', 'latin1');
const headLength = 32;
const maxText = 8 << 20;

/** Reads the modules of a program; none when it has no build information. */
export function* goModules(file: OpenFile, elf: Elf): Generator<FoundPackage, void> {
  const section = elf.sections.get('.go.buildinfo');
  if (section === undefined || section.size < headLength) return;
  const head = file.at(section.offset, headLength);
  if (!head.subarray(0, magic.length).equals(magic)) return;
  const [version, modules] =
    (head[15] as number) & 2 ? inline(file, section.offset) : pointed(file, elf, head);
  const go = /^go(\d\S*)/.exec(version)?.[1];
  if (go !== undefined) yield { kind: 'golang', name: 'stdlib', version: go };
  yield* modulesIn(modules);
}

/** Go 1.18 and later: both texts follow, each with its length before it. */
function inline(file: OpenFile, offset: number): [string, string] {
  let at = offset + headLength;
  const text = (): string => {
    let length = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = file.at(at++, 1)[0] as number;
      length += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    const bytes = file.at(at, Math.min(length, maxText));
    at += length;
    return bytes.toString('utf8');
  };
  return [text(), text()];
}

/** Earlier: pointers to the texts' headers. */
function pointed(file: OpenFile, elf: Elf, head: Buffer): [string, string] {
  const is64 = head[14] === 8;
  const number = numbersOf(((head[15] as number) & 1) === 1, is64);
  const size = is64 ? 8 : 4;
  const text = (pointer: number): string => {
    const at = elf.offsetOf(pointer);
    if (at === undefined) return '';
    const header = file.at(at, 2 * size);
    const start = elf.offsetOf(number.word(header, 0));
    const length = number.word(header, size);
    return start === undefined ? '' : file.at(start, Math.min(length, maxText)).toString('utf8');
  };
  return [text(number.word(head, 16)), text(number.word(head, 16 + size))];
}

/** Reads lines of `mod`, `dep` and `=>`; a replacement stands in the place of the module before it. */
function* modulesIn(text: string): Generator<FoundPackage, void> {
  // A mark of 16 bytes stands at either end.
  const lines = text.length < 33 ? [] : text.slice(16, -16).split('\n');
  let held: FoundPackage | undefined;
  for (const line of lines) {
    const [word, path, version = ''] = line.split('\t');
    if ((word !== 'mod' && word !== 'dep' && word !== '=>') || path === undefined) continue;
    if (word === '=>' && !/^\.{0,2}\//.test(path)) {
      held = goPackage(path, version);
      continue;
    }
    if (word === '=>') continue;
    if (held !== undefined) yield held;
    held = goPackage(path, version);
  }
  if (held !== undefined) yield held;
}

function goPackage(path: string, version: string): FoundPackage {
  const slash = path.lastIndexOf('/');
  return {
    kind: 'golang',
    namespace: slash < 0 ? undefined : path.slice(0, slash),
    name: path.slice(slash + 1),
    version: version === '(devel)' ? '' : version,
  };
}
