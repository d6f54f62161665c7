/**
 * Bundles of statements, as scanners write them. What is in one is remembered on the snapshot that has it, so that an
 * unchanged result does not have it read and checked again: the statements themselves are remembered by the exporter.
 */
import type { StatedSubject } from '../attest/index.ts';
import { fail } from '../errors/index.ts';
import type { ViewSpec } from '../fs/index.ts';
import type { Store } from '../store/index.ts';
import { version } from '../version.ts';
import { runTask } from '../workers/index.ts';

/** Where a bundle is. */
interface BundlePlace {
  /** The tree. */
  spec: ViewSpec;
  /** The folder in the tree. */
  path: string;
  /** The type that all predicates must have; '' allows all. */
  predicateType: string;
  /** The snapshot that the tree is; undefined where it is none. */
  snapshot: string | undefined;
}

/** A statement of a bundle, without its predicate. */
interface Bundled {
  filename: string;
  predicateType: string;
  subjects: StatedSubject[];
  /** Reads the predicate, JSON. */
  predicate(): Promise<Uint8Array>;
}

/** What a snapshot's label has: whoever checked it, what was asked for, and what was found. */
interface Noted {
  by: string;
  path: string;
  predicateType: string;
  statements: Pick<Bundled, 'filename' | 'predicateType' | 'subjects'>[];
}

const label = 'drydock/bundle';
/** The longest label, in characters: containerd takes 4096 bytes, with the label's name. */
const maxLabel = 3500;

/**
 * Lists the statements of a bundle. Rejects with `invalid` and `exhausted` for a bundle that has anything else in it, as
 * `readBundle` does.
 */
export async function bundled(
  { snapshots }: Pick<Store, 'snapshots'>,
  place: BundlePlace,
  signal: AbortSignal,
): Promise<Bundled[]> {
  const { snapshot } = place;
  const known = snapshot === undefined ? undefined : noted((await snapshots.stat(snapshot))?.labels[label]);
  if (known?.path === place.path && known.predicateType === place.predicateType) {
    return known.statements.map((each) => ({
      ...each,
      async predicate() {
        const found = (await read(place, signal)).find(({ filename }) => filename === each.filename);
        if (found === undefined) throw fail('internal', 'export', `the bundle lost ${each.filename}`);
        return found.predicate();
      },
    }));
  }
  const all = await read(place, signal);
  if (snapshot !== undefined) {
    const { path, predicateType } = place;
    const statements = all.map(({ predicate: _, ...rest }) => rest);
    const text = JSON.stringify({ by: version, path, predicateType, statements } satisfies Noted);
    // In ASCII its bytes are its characters.
    const ascii = text.replace(
      /[^\x20-\x7e]/g,
      (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    if (ascii.length <= maxLabel) await snapshots.setLabels(snapshot, { [label]: ascii });
  }
  return all;
}

function noted(text: string | undefined): Noted | undefined {
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as Noted;
    return value.by === version ? value : undefined;
  } catch {
    return undefined;
  }
}

async function read({ spec, path, predicateType }: BundlePlace, signal: AbortSignal): Promise<Bundled[]> {
  const statements = await runTask('attest.bundle', { spec, path, predicateType }, { signal });
  return statements.map(({ filename, predicate, predicateType: type, subjects }) => ({
    filename,
    predicateType: type,
    subjects: subjects.map(({ name, digest }) => ({ kind: 'raw' as const, name, digest })),
    predicate: async () => predicate,
  }));
}
