/** Says of the files in an SPDX document which layer of the image they are in. */
import { type Stopping, throwIfAborted } from '../errors/index.ts';
import { cleanPath, type FsView, openView, type ViewSpec } from '../fs/index.ts';
import type { Digest } from '../oci/index.ts';

/**
 * Adds the comment `layerID: DIGEST` to each file of a document that has none, where a layer has the file, and the name
 * of this program to the document's creators, as BuildKit does. `digests`: of the layers, lowest first. What is no SPDX
 * document is returned as it is, and so is one whose image has other layers than its files.
 */
export function withLayerIds(
  document: Record<string, unknown>,
  { spec, digests, tool }: { spec: ViewSpec; digests: readonly Digest[]; tool: string },
  signal: Stopping,
): Record<string, unknown> {
  const { spdxVersion, files, creationInfo } = document;
  if (typeof spdxVersion !== 'string' || spec.kind !== 'layers' || spec.dirs.length !== digests.length)
    return document;
  const layers = spec.dirs.map((dir, i) => ({
    view: openView({ kind: 'layers', dirs: [dir] }),
    digest: digests[digests.length - 1 - i] as Digest,
  }));
  const list = Array.isArray(files) ? files : [];
  for (const [i, file] of list.entries()) {
    if (i % 256 === 0) throwIfAborted(signal);
    if (typeof file !== 'object' || file === null || file.comment || typeof file.fileName !== 'string')
      continue;
    const path = cleanPath(`/${file.fileName}`);
    const layer = layers.find(({ view }) => has(view, path));
    if (layer !== undefined) file.comment = `layerID: ${layer.digest}`;
  }
  const info = typeof creationInfo === 'object' && creationInfo !== null ? creationInfo : {};
  const creators: unknown[] = 'creators' in info && Array.isArray(info.creators) ? info.creators : [];
  const own = `Tool: ${tool}`;
  const all = creators.includes(own) ? creators : [...creators, own];
  return { ...document, creationInfo: { ...info, creators: all } };
}

function has(view: FsView, path: string): boolean {
  return path !== '/' && view.lstat(path) !== undefined;
}
