/**
 * The crates that a Rust program was made of, when it was built with `cargo auditable`: JSON in a section of its own.
 * https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md
 */
import { inflateSync } from 'node:zlib';
import { fail } from '../../errors/index.ts';
import type { OpenFile } from '../lines.ts';
import type { FoundPackage } from '../types.ts';
import type { Elf } from './elf.ts';
import { type Json, textIn } from './json.ts';

/** The most bytes of JSON; the format's own limit. */
const maxJson = 8 << 20;

/** Reads the crates of a program that are in it when it runs; none when it has no such section. */
export function* cargoCrates(file: OpenFile, elf: Elf): Generator<FoundPackage, void> {
  const section = elf.sections.get('.dep-v0');
  if (section === undefined) return;
  let list: Json;
  try {
    const json = inflateSync(file.at(section.offset, section.size), { maxOutputLength: maxJson });
    list = JSON.parse(json.toString('utf8')).packages;
  } catch (cause) {
    throw fail('invalid', 'file', 'its list of crates cannot be read', { cause });
  }
  for (const each of Array.isArray(list) ? list : []) {
    const name = textIn(each?.name);
    const version = textIn(each?.version);
    if (name === undefined || version === undefined || each.kind === 'build') continue;
    yield { kind: 'cargo', name, version };
  }
}
