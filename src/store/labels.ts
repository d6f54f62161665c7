/** Makes garbage collection labels (`gcLabels` in store.ts) from the references of a document or an image. Pure. */
import { maskUrls } from '../errors/index.ts';
import { type Descriptor, isIndexType, isManifestType, mediaTypes } from '../oci/index.ts';
import { gcLabels, snapshotLabels } from './store.ts';

/**
 * The labels that keep the children of a manifest or index alive, for its blob: `….config` for the config, `….l.0`,
 * `….l.1` … for layers, `….m.0` … for manifests, as containerd names them. Pass only children that are, or will be, in
 * content; the order within each kind is kept.
 */
export function contentRefLabels(children: readonly Descriptor[]): Record<string, string> {
  const labels: Record<string, string> = {};
  let layers = 0;
  let manifests = 0;
  for (const { mediaType, digest } of children) {
    if (isManifestType(mediaType) || isIndexType(mediaType)) {
      labels[`${gcLabels.content}.m.${manifests++}`] = digest;
    } else if (isConfigType(mediaType) && labels[`${gcLabels.content}.config`] === undefined) {
      labels[`${gcLabels.content}.config`] = digest;
    } else labels[`${gcLabels.content}.l.${layers++}`] = digest;
  }
  return labels;
}

/** The bytes of a step's name that are kept; containerd takes labels of 4096 bytes at most. */
const maxCreatedBy = 2048;

/** The label that names the step of a layer, without passwords in URLs. */
export function createdByLabel(name: string): Record<string, string> {
  return { [snapshotLabels.createdBy]: stepText(name) };
}

/** The label that names the step of a layer made elsewhere; no label when the name is unknown. */
export function madeByLabel(name: string | undefined): Record<string, string> {
  return name === undefined ? {} : { [snapshotLabels.madeBy]: stepText(name) };
}

function stepText(name: string): string {
  const step = maskUrls(name);
  const bytes = Buffer.from(step);
  // A character that was cut in two is removed.
  return bytes.length > maxCreatedBy ? bytes.toString('utf8', 0, maxCreatedBy).replace(/\uFFFD+$/, '') : step;
}

/** The label that keeps a snapshot (and its parents) alive as long as the blob that carries it. */
export function snapshotRefLabel(snapshotter: string, key: string): Record<string, string> {
  return { [`${gcLabels.snapshot}.${snapshotter}`]: key };
}

function isConfigType(mediaType: string): boolean {
  return mediaType === mediaTypes.ociConfig || mediaType === mediaTypes.dockerConfig;
}

/** The things that a thing's labels keep alive. Labels for other snapshotters are ignored. */
export function refsOfLabels(
  labels: Record<string, string>,
  snapshotter: string,
): { type: 'blob' | 'snapshot'; id: string }[] {
  const refs: { type: 'blob' | 'snapshot'; id: string }[] = [];
  for (const [name, id] of Object.entries(labels)) {
    if (named(name, gcLabels.content)) refs.push({ type: 'blob', id });
    else if (named(name, `${gcLabels.snapshot}.${snapshotter}`)) refs.push({ type: 'snapshot', id });
  }
  return refs;
}

/** Whether a label's name is the prefix, or the prefix with anything after `.` or `/`. */
function named(name: string, prefix: string): boolean {
  if (!name.startsWith(prefix)) return false;
  const next = name[prefix.length];
  return next === undefined || next === '.' || next === '/';
}
