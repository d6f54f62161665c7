/**
 * Statements about images as blobs. One whose predicate is made of a file that the store keeps (a bill of materials) is
 * written once for an image: it is remembered on the snapshot that has the file.
 */
import {
  type Attestation,
  type StatedImage,
  type StatementBlob,
  type Subject,
  statementBytes,
} from '../attest/index.ts';
import { digestOf, hex, isDigest } from '../oci/index.ts';
import { hold, type Store } from '../store/index.ts';
import { version } from '../version.ts';
import type { ExportContext } from './types.ts';

/** The label of a snapshot for one of its files: `KEY DIGEST SIZE` of the statement that was made last of it. */
const labelOf = (path: string) => `drydock/statement-${hex(digestOf(path)).slice(0, 16)}`;

/** Makes a statement, or finds the one that an earlier build has made of the same file for the same image. */
export async function statementOf(
  attestation: Attestation,
  subject: readonly Subject[],
  image: StatedImage,
  { store, lease }: Pick<ExportContext, 'store' | 'lease'>,
): Promise<StatementBlob> {
  const { predicateType, predicate, madeOf } = attestation;
  // What the statement says is known by these: the file's snapshot never changes.
  const key = digestOf(
    JSON.stringify([version, predicateType, madeOf?.path, subject, image.layers.map(({ digest }) => digest)]),
  );
  const known = madeOf && (await remembered(store, lease, madeOf, key));
  if (known !== undefined) return { predicateType, ...known };
  const bytes = statementBytes({ predicateType, subject, predicate: await predicate(image) });
  const digest = digestOf(bytes);
  if (madeOf !== undefined) {
    await store.snapshots.setLabels(madeOf.snapshot, {
      [labelOf(madeOf.path)]: `${key} ${digest} ${bytes.length}`,
    });
  }
  return { predicateType, digest, size: bytes.length, bytes };
}

/** The statement of this key, if it is still in content; it is under the lease then. */
async function remembered(
  store: Store,
  lease: string,
  { snapshot, path }: NonNullable<Attestation['madeOf']>,
  key: string,
): Promise<Pick<StatementBlob, 'digest' | 'size'> | undefined> {
  const [known, digest, size] =
    (await store.snapshots.stat(snapshot))?.labels[labelOf(path)]?.split(' ') ?? [];
  if (known !== key || digest === undefined || !isDigest(digest)) return undefined;
  if (!(await hold(store, lease, { type: 'blob', id: digest }))) return undefined;
  return { digest, size: Number(size) };
}
