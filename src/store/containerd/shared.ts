/** The parts of a containerd store that its files share. */
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
  /** The folder of containerd's blobs (`blobs/sha256/<hex>`), if this process can read it. */
  blobFolder: string | undefined;
}

/** The path of the complete file of a blob of that size, if this process can see it among containerd's files. */
export function blobFile(
  { blobFolder }: Pick<ContainerdParts, 'blobFolder'>,
  digest: Digest,
  size: number,
): string | undefined {
  if (blobFolder === undefined) return undefined;
  const path = join(blobFolder, hex(digest));
  return statSync(path, { throwIfNoEntry: false })?.size === size ? path : undefined;
}

/** Whether a blob that containerd knows has no complete file. False when this process cannot see containerd's files. */
export function isDamaged(
  shared: Pick<ContainerdParts, 'blobFolder'>,
  digest: Digest,
  size: number,
): boolean {
  return shared.blobFolder !== undefined && blobFile(shared, digest, size) === undefined;
}

/** containerd's name of the lease under which a call puts the things that it makes. */
export function leaseName({ passing, names }: ContainerdParts, lease: string): string {
  return passing.nameOf(lease) ?? names.of(lease);
}

/** The paths of a FieldMask that sets, changes or (undefined) removes single labels. */
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
