/** Programs: ELF files that say what they were made of. */
import { withFile } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';
import { cargoCrates } from './cargo.ts';
import { readElf } from './elf.ts';
import { goModules } from './go.ts';

/** Reads what a Go or Rust program was made of; nothing of a file that is no such program. */
export function program(found: Found): Iterable<FoundPackage> {
  return withFile(found, function* (file): Generator<FoundPackage, void> {
    const elf = readElf(file);
    if (elf === undefined) return;
    yield* goModules(file, elf);
    yield* cargoCrates(file, elf);
  });
}
