/** Reads and checks a SolveRequest from a client of any age. Pure. */

import { type Authority, authorizeEntitlements } from '../../../auth/index.ts';
import { checkEntitlementNames, checkOptionsSize, type OutputSpec } from '../../../engine/index.ts';
import { fail, nearest } from '../../../errors/index.ts';
import type { CacheOptionsEntry, Exporter, SolveRequest } from '../../../pb/moby/buildkit/v1/control_pb.js';
import type { CacheSpec } from '../../../remote-cache/index.ts';

interface RequestedOutput {
  type: OutputSpec['type'];
  attrs: Record<string, string>;
  /** The place of the output among the outputs; undefined from clients that know of one output only. */
  index?: number;
  /** Whether an image goes that loses its last name. BuildKit's exporter drops it; dockerd's own exporter keeps it. */
  forgetsReplaced: boolean;
}

const types: Readonly<Record<string, OutputSpec['type']>> = {
  image: 'image',
  moby: 'image',
  oci: 'oci',
  docker: 'docker',
  local: 'local',
  tar: 'tar',
  cacheonly: 'cacheonly',
};

/** The outputs of a request. Throws `invalid` (hop `export`) for an unknown exporter. */
export function outputsOf(request: SolveRequest): RequestedOutput[] {
  if (request.Exporters.length > 0) {
    return request.Exporters.map((exporter, index) => ({ ...outputOf(exporter), index }));
  }
  if (request.ExporterDeprecated === '') return [];
  return [outputOf({ Type: request.ExporterDeprecated, Attrs: request.ExporterAttrsDeprecated })];
}

/** One output. Throws `invalid` (hop `export`) for an unknown exporter. */
export function outputOf({ Type, Attrs }: Pick<Exporter, 'Type' | 'Attrs'>): Omit<RequestedOutput, 'index'> {
  const type = Object.hasOwn(types, Type) ? types[Type] : undefined;
  if (type !== undefined) return { type, attrs: attrsOf(Type, Attrs), forgetsReplaced: Type !== 'moby' };
  throw fail('invalid', 'export', `exporter ${JSON.stringify(Type)} could not be found`, {
    hint: `Did you mean ${nearest(Type, Object.keys(types)) ?? Object.keys(types).join(', ')}?`,
  });
}

/** An exporter's attributes, without those that clients keep for themselves, and with the API's own default. */
function attrsOf(type: string, { context, 'prefer-image-digest': _, ...attrs }: Exporter['Attrs']) {
  if (type === 'image') attrs.unpack ??= 'false';
  return attrs;
}

/** The caches that a request wants read and written. Pure; their attributes are checked later. */
export function cachesOf(request: SolveRequest): { imports: CacheSpec[]; exports: CacheSpec[] } {
  const { Cache: cache, FrontendAttrs: attrs } = request;
  const specs = (entries: readonly Pick<CacheOptionsEntry, 'Type' | 'Attrs'>[]) =>
    entries.map(({ Type, Attrs }): CacheSpec => ({ type: Type, attrs: { ...Attrs } }));
  const registry = (ref: string): CacheSpec => ({ type: 'registry', attrs: { ref } });
  const imports = [
    ...specs(cache?.Imports ?? []),
    ...(cache?.ImportRefsDeprecated ?? []).map(registry),
    // Clients say it to the frontend as well, and old ones to it alone.
    ...specs(entriesOf(attrs['cache-imports'])),
    ...(attrs['cache-from'] ?? '').split(',').filter(Boolean).map(registry),
  ];
  const exports = specs(cache?.Exports ?? []);
  if (exports.length === 0 && cache?.ExportRefDeprecated) {
    const { ExportRefDeprecated: ref, ExportAttrsDeprecated: more } = cache;
    exports.push({ type: 'registry', attrs: { ...more, ref } });
  }
  return { imports, exports };
}

function entriesOf(json: string | undefined): { Type: string; Attrs: Record<string, string> }[] {
  if (!json) return [];
  let list: unknown;
  try {
    list = JSON.parse(json);
  } catch (cause) {
    throw fail('invalid', 'frontend', 'the option cache-imports is not JSON', { cause });
  }
  if (list === null) return [];
  if (!Array.isArray(list)) throw fail('invalid', 'frontend', 'the option cache-imports is no list');
  return list.map((entry: { Type?: unknown; Attrs?: unknown } | null) => {
    const texts = Object.entries(entry?.Attrs ?? {}).map(([name, value]) => [name, String(value)]);
    return { Type: String(entry?.Type ?? ''), Attrs: Object.fromEntries(texts) };
  });
}

/** The versions of BuildKit whose defaults a client may ask for; 0 is the newest. */
const compatibility = { v013: 10n, v015: 20n, v031: 30n };

/**
 * Whether the client asks for the defaults from before images had the OCI's media types. Throws `unsupported` for an
 * unknown version, and for an output that asks for something its version did not have yet.
 */
export function dockerTypesOf(
  { CompatibilityVersion: wanted }: SolveRequest,
  outputs: readonly Pick<RequestedOutput, 'type' | 'attrs'>[],
): boolean {
  const known = Object.values(compatibility);
  if (wanted === 0n) return false;
  const zstd = outputs.find(({ attrs }) => attrs.compression?.startsWith('zstd'));
  if (wanted === compatibility.v013 && zstd !== undefined) {
    const feature = `${zstd.type} exporter compression=${zstd.attrs.compression}`;
    throw fail('unsupported', 'export', `unsupported compatibility-version ${wanted} feature ${feature}`, {
      details: { compatibilityVersion: Number(wanted), compatibilityFeature: feature },
    });
  }
  if (known.includes(wanted)) return wanted < compatibility.v031;
  throw fail('unsupported', 'client', `unsupported compatibility-version ${wanted}`, {
    hint: `Versions: ${known.join(', ')}.`,
  });
}

/** The most outputs of a build, and the most caches to export: each has its price. */
const maxOutputs = 128;

/** Throws `exhausted` for a request with more options, attributes, outputs or caches than anybody needs. */
export function checkSizes(request: SolveRequest): void {
  const { Exporters, ExporterAttrsDeprecated, Cache: cache } = request;
  checkOptionsSize(request.FrontendAttrs);
  for (const [what, count] of [
    ['outputs', Exporters.length],
    ['caches to export', cache?.Exports.length ?? 0],
  ] as const) {
    if (count <= maxOutputs) continue;
    throw fail('exhausted', 'client', `the build names ${count} ${what}, at most ${maxOutputs} are taken`);
  }
  const outputs = [...Exporters.map(({ Attrs }) => Attrs), ExporterAttrsDeprecated];
  checkOptionsSize(outputs, "the outputs' attributes");
  const caches = [...(cache?.Imports ?? []), ...(cache?.Exports ?? [])].map(({ Attrs }) => Attrs);
  checkOptionsSize([...caches, cache?.ExportAttrsDeprecated ?? {}], "the caches' attributes");
}

/**
 * The entitlements that a build gets: those that it asks for, that the daemon is configured for, and that the caller's
 * authority has. Throws `invalid` for an unknown one, `denied` for one that it asks for and does not get.
 */
export function grantedEntitlements(
  asked: readonly string[],
  configured: readonly string[] | undefined,
  authority: Authority,
): string[] {
  checkEntitlementNames(asked);
  for (const entitlement of asked) {
    const [name = ''] = entitlement.split('=', 1);
    if (configured !== undefined && !configured.includes(name)) {
      throw fail(
        'denied',
        'client',
        `granting entitlement ${entitlement} is not allowed by build daemon configuration`,
        {
          hint: `Start the daemon with --allow-insecure-entitlement ${name}.`,
          details: { entitlement },
        },
      );
    }
    if (configured === undefined) authorizeEntitlements(authority, [name]);
  }
  return [...asked];
}
