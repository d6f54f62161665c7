/** `--verify-reproducible`: builds twice, without cache, and says what differs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildOptions, OutputSpec } from '../../engine/index.ts';
import { clip, type DrydockError, fail, printable } from '../../errors/index.ts';
import { compareLayouts, type Difference, type PartDifference } from '../../reproduce/index.ts';

/** Attributes of an output that say where the result goes, and nothing about what it is. */
const places =
  /^(name|push|push-by-digest|store|unpack|dangling-name-prefix|name-canonical|tar|registry\..*|mode|platform-split|attestation-prefix)$/;

/**
 * Builds twice without cache, with the attributes of the first output that makes an image, and compares. `build` is
 * called with the options of each. The results lie in a folder in `place` meanwhile. Throws `failed` when the results differ, with the differences as its log, and what
 * `build` throws.
 */
export async function verifyReproducible(
  options: BuildOptions,
  build: (options: BuildOptions) => Promise<unknown>,
  place: string,
): Promise<void> {
  const image = options.outputs.find(({ type }) => ['image', 'oci', 'docker'].includes(type));
  const attrs = Object.fromEntries(Object.entries(image?.attrs ?? {}).filter(([name]) => !places.test(name)));
  const dir = await mkdtemp(join(place, 'reproduce-'));
  const folders = [join(dir, 'first'), join(dir, 'second')] as const;
  try {
    for (const files of folders) {
      const output: OutputSpec = { type: 'oci', attrs: { ...attrs, tar: 'false' }, sink: { files } };
      const once = { ...options, outputs: [output], tags: [], noCache: true, cacheFrom: [], cacheTo: [] };
      await build({ ...once, provenance: false, sbom: false });
    }
    const found = await compareLayouts(...folders);
    if (found.length > 0) throw differs(found);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function differs(parts: readonly PartDifference[]): DrydockError {
  const text = (value: string) => printable(clip(value, 200));
  const line = ({ path, what, first, second }: Difference) =>
    `  ${[text(path), what].filter((word) => word !== '').join(': ')}\n    first   ${text(first)}\n    second  ${text(second)}`;
  const lines = parts.flatMap(({ part, count, differences }) => [
    text(part),
    ...differences.map(line),
    ...(count > differences.length ? [`  … and ${count - differences.length} more`] : []),
  ]);
  const all = parts.flatMap(({ differences }) => differences);
  const isTime = ({ what, path }: Difference) => what === 'mtime' || /(^|\.)created$/.test(path);
  return fail('failed', 'client', `the build is not reproducible:\n${lines.join('\n')}`, {
    hint: all.every(isTime)
      ? 'Only times differ: set SOURCE_DATE_EPOCH, and rewrite-timestamp=true in the output.'
      : undefined,
  });
}
