/** The contract of the scanner: what it finds in a tree, and what its readers are given. */
import type { FsEntry, FsView } from '../fs/index.ts';

/** The forms that a bill of materials may have. */
export type SbomFormat = 'spdx' | 'cyclonedx';

/** The kinds of packages that are found, by their names in package URLs. */
type PackageKind = 'deb' | 'apk' | 'rpm' | 'npm' | 'pypi' | 'golang' | 'cargo' | 'maven' | 'gem';

/** A package as its manager, its own metadata or a program's build information tells it. */
export interface FoundPackage {
  kind: PackageKind;
  /** `@babel` of `@babel/core`, `org.slf4j` of an artifact; default: none, for an operating system's its name. */
  namespace?: string;
  name: string;
  /** '' when nobody says it. */
  version: string;
  /** Further parts of the package URL, as `arch`. */
  qualifiers?: Readonly<Record<string, string | undefined>>;
  /** The licence in the words of the package; several where all of them hold, each for a part of it. */
  license?: string | readonly string[];
  /** Who made or packed it. */
  supplier?: string;
  homepage?: string;
}

/** The operating system of a tree, as its os-release tells it; empty texts when it has none. */
export interface Distro {
  /** `debian` */
  id: string;
  /** `12` */
  version: string;
  /** `Debian GNU/Linux 12 (bookworm)` */
  name: string;
}

/** What a reader is given: one file of the tree, and the tree. */
export interface Found {
  view: FsView;
  entry: FsEntry;
  distro: Distro;
  /**
   * Counts bytes that are read or unpacked. Throws `canceled` when nobody wants the result any more, and `exhausted` when
   * they are far more than the file has: a reader would go round in it for ever.
   */
  spend(bytes: number): void;
}

/** Reads the packages that one file tells of. Throws for a file that is not what its name says. */
export type Reader = (found: Found) => Iterable<FoundPackage>;
