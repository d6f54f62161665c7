import {
  isDisabled,
  type ProvenanceOptions,
  parseProvenance,
  parseSbom,
  type SbomOptions,
} from '../../attest/index.ts';
import { fail, nearest } from '../../errors/index.ts';
import { parseBool } from '../../words/index.ts';
import { splitCsv } from '../csv.ts';
import type { FlagValues } from '../flags.ts';
import type { buildFlags } from './flags.ts';

const types = ['provenance', 'sbom'] as const;
type AttestationType = (typeof types)[number];

/** What flags ask for: false when one turns it off, undefined without one. */
interface AskedByFlags {
  provenance: ProvenanceOptions | false | undefined;
  sbom: SbomOptions | false | undefined;
}

/**
 * Reads the attestations that `--provenance`, `--sbom` and `--attest` ask for. Throws `invalid` with the wrong word, and
 * for one that is asked for twice.
 */
export function attestFlags(
  flags: Pick<FlagValues<typeof buildFlags>, 'provenance' | 'sbom' | 'attest'>,
): AskedByFlags {
  const given: Record<AttestationType, string[]> = {
    provenance: flags.provenance === undefined ? [] : [flags.provenance],
    sbom: flags.sbom === undefined ? [] : [flags.sbom],
  };
  for (const text of flags.attest) given[typeOf(text)].push(text);
  return {
    provenance: read('provenance', given.provenance, parseProvenance),
    sbom: read('sbom', given.sbom, parseSbom),
  };
}

function read<T>(
  type: AttestationType,
  given: readonly string[],
  parse: (text: string) => T,
): T | false | undefined {
  if (given.length > 1) {
    throw fail('invalid', 'client', `the ${type} is asked for twice`, {
      hint: `Give --${type} or one --attest type=${type}.`,
    });
  }
  const [text] = given;
  if (text === undefined) return undefined;
  const wanted = parseBool(text);
  if (wanted === false || text === 'mode=none' || isDisabled(text)) return false;
  return parse(wanted === true ? '' : text);
}

/** Reads the type of an `--attest`. Throws `invalid` when there is no such one. */
function typeOf(text: string): AttestationType {
  const type = splitCsv(text)
    .find((field) => field.startsWith('type='))
    ?.slice('type='.length);
  const known = types.find((each) => each === type);
  if (known !== undefined) return known;
  const near = type === undefined ? undefined : nearest(type, types);
  const hint = near === undefined ? 'There are type=provenance and type=sbom.' : `Did you mean type=${near}?`;
  const why = type === undefined ? 'has no type' : `has an unknown type ${JSON.stringify(type)}`;
  throw fail('invalid', 'client', `--attest ${text} ${why}`, { hint });
}
