/** What the parts of a containerd store share. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, hex } from '../../oci/index.ts';
import type { Run } from '../shared/run-folder.ts';
import type { Connection } from './connection.ts';
import type { LeaseNames } from './lease-names.ts';
import type { PassingLeases } from './passing-leases.ts';

export interface ContainerdParts {
  connection: Connection;
  snapshotter: string;
  run: Run;
  names: LeaseNames;
  passing: PassingLeases;
  /** Folder of containerd's blobs (`blobs/sha256/<hex>`), where this process can read it. */
  blobFolder: string | undefined;
}

/** The whole file of a blob of so many bytes, as far as this process can see containerd's files. */
export function blobFile(
  { blobFolder }: Pick<ContainerdParts, 'blobFolder'>,
  digest: Digest,
  size: number,
): string | undefined {
  if (blobFolder === undefined) return undefined;
  const path = join(blobFolder, hex(digest));
  return statSync(path, { throwIfNoEntry: false })?.size === size ? path : undefined;
}

/** Whether a blob that containerd knows has no whole file, as far as this process can see its files. */
export function isDamaged(
  shared: Pick<ContainerdParts, 'blobFolder'>,
  digest: Digest,
  size: number,
): boolean {
  return shared.blobFolder !== undefined && blobFile(shared, digest, size) === undefined;
}

/** containerd's name of the lease that what a call makes is put under. */
export function leaseName({ passing, names }: ContainerdParts, lease: string): string {
  return passing.nameOf(lease) ?? names.of(lease);
}

/** Paths of a FieldMask that sets, changes or (undefined) removes single labels. */
export function labelPaths(labels: Record<string, string | undefined>): string[] {
  return Object.keys(labels).map((name) => `labels.${name}`);
}

/** Labels to send with `labelPaths`: an empty value takes a label away. */
export function labelValues(labels: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, value ?? '']));
}

/** ms since the epoch */
export function millis(time: { seconds: bigint; nanos: number } | undefined): number {
  return time === undefined ? 0 : Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6);
}
