/** A SolveRequest, of whatever age its client is, read and checked. Pure. */

import type { OutputSpec } from '../../../build/types.ts';
import { fail } from '../../../errors/error.ts';
import { nearest } from '../../../errors/nearest.ts';
import type { Exporter, SolveRequest } from '../../../pb/moby/buildkit/v1/control_pb.js';

export interface Output {
  type: OutputSpec['type'];
  attrs: Record<string, string>;
  /** Its place among the outputs; undefined from clients that know of one only. */
  index?: number;
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

/** Throws `invalid` (hop `export`) on an exporter that nobody knows. */
export function outputsOf(request: SolveRequest): Output[] {
  if (request.Exporters.length > 0) {
    return request.Exporters.map((exporter, index) => ({ ...outputOf(exporter), index }));
  }
  if (request.ExporterDeprecated === '') return [];
  return [outputOf({ Type: request.ExporterDeprecated, Attrs: request.ExporterAttrsDeprecated })];
}

function outputOf({ Type, Attrs }: Pick<Exporter, 'Type' | 'Attrs'>): Omit<Output, 'index'> {
  const type = Object.hasOwn(types, Type) ? types[Type] : undefined;
  if (type !== undefined) return { type, attrs: { ...Attrs } };
  throw fail('invalid', 'export', `exporter ${JSON.stringify(Type)} could not be found`, {
    hint: `Did you mean ${nearest(Type, Object.keys(types)) ?? Object.keys(types).join(', ')}?`,
  });
}

const cacheTypes = ['registry', 'inline', 'local', 'gha', 's3', 'azblob'];

/**
 * What of the request is not to be had: a sentence each for what can be left out. Throws `unsupported` for what the
 * result would not be the same without, and `invalid` for what nobody knows.
 */
export function notesOf(request: SolveRequest): string[] {
  const notes: string[] = [];
  const cache = request.Cache;
  const imports = [...(cache?.Imports ?? []).map(({ Type }) => Type)];
  if ((cache?.ImportRefsDeprecated ?? []).length > 0) imports.push('registry');
  const also = request.FrontendAttrs['cache-imports'] ?? request.FrontendAttrs['cache-from'];
  if (imports.length > 0 || (also !== undefined && also !== '' && also !== '[]' && also !== 'null')) {
    notes.push(
      `importing build cache (${imports.join(', ') || 'registry'}) is not supported yet: Drydock's own cache is used alone`,
    );
  }
  const exports = (cache?.Exports ?? []).map(({ Type, Attrs }) => ({ type: Type, attrs: Attrs }));
  if (cache?.ExportRefDeprecated) exports.push({ type: 'registry', attrs: cache.ExportAttrsDeprecated });
  for (const { type, attrs } of exports) {
    if (!cacheTypes.includes(type)) {
      throw fail('invalid', 'cache', `unknown cache exporter: ${JSON.stringify(type)}`, {
        hint: `Did you mean ${nearest(type, cacheTypes) ?? cacheTypes.join(', ')}?`,
      });
    }
    const message = `exporting build cache (type=${type}) is not supported yet`;
    if (type !== 'inline' && attrs['ignore-error'] !== 'true') {
      throw fail('unsupported', 'cache', message, {
        hint: 'Leave out --export-cache (--cache-to), or give it ignore-error=true.',
      });
    }
    notes.push(`${message}: the result is made without it`);
  }
  if ((request.SourcePolicy?.rules ?? []).length > 0 || request.SourcePolicySession !== '') {
    throw fail(
      'unsupported',
      'client',
      'source policies are not supported yet, and a build must not go past them',
    );
  }
  for (const [name, value] of Object.entries(request.FrontendAttrs)) {
    // buildx asks for provenance unless told not to, in a form that only cache exports would hold.
    if (!name.startsWith('attest:') || value.includes('inline-only=true') || value.includes('disabled=true'))
      continue;
    notes.push(`${name.slice('attest:'.length)} attestations are not supported yet: the image has none`);
  }
  return notes;
}

const known = ['network.host', 'security.insecure', 'device'];

/**
 * The entitlements a build gets: asked for, configured, and within the caller's authority. Throws `invalid` for
 * unknown ones, `denied` for what it asked for and does not get.
 */
export function grantedEntitlements(
  asked: readonly string[],
  configured: readonly string[] | undefined,
  authority: ReadonlySet<string>,
): string[] {
  for (const entitlement of asked) {
    const [name = ''] = entitlement.split('=', 1);
    if (!known.includes(name)) {
      throw fail('invalid', 'client', `unknown entitlement ${JSON.stringify(entitlement)}`, {
        hint: `Did you mean ${nearest(name, known) ?? known.join(', ')}?`,
      });
    }
    if (configured !== undefined && !configured.includes(entitlement)) {
      throw fail(
        'denied',
        'client',
        `granting entitlement ${entitlement} is not allowed by build daemon configuration`,
        {
          hint: `Start the daemon with --allow-insecure-entitlement ${entitlement}.`,
          details: { entitlement },
        },
      );
    }
    if (configured === undefined && !authority.has(entitlement)) {
      throw fail(
        'denied',
        'client',
        `granting entitlement ${entitlement} is not allowed for you by this daemon`,
        {
          hint: `Add "allow": ["${entitlement}"] to your rule in the daemon's policy file.`,
          details: { entitlement },
        },
      );
    }
  }
  return [...asked];
}
