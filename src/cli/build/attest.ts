import { type ProvenanceOptions, parseProvenance } from '../../attest/index.ts';
import { fail } from '../../errors/index.ts';
import { parseBool } from '../../words/index.ts';
import { splitCsv } from '../csv.ts';
import type { FlagValues } from '../flags.ts';
import type { buildFlags } from './flags.ts';

/**
 * Reads the provenance that `--provenance` or `--attest type=provenance` asks for: false when a flag turns it off,
 * undefined without a flag. Throws `invalid` and `unsupported` with the wrong word.
 */
export function provenanceFlag({
  provenance,
  attest,
}: Pick<FlagValues<typeof buildFlags>, 'provenance' | 'attest'>): ProvenanceOptions | false | undefined {
  const given = [...(provenance === undefined ? [] : [provenance]), ...attest.map(fieldsOf)];
  if (given.length > 1) {
    throw fail('invalid', 'client', 'the provenance is asked for twice', {
      hint: 'Give --provenance or one --attest type=provenance.',
    });
  }
  const [text] = given;
  if (text === undefined) return undefined;
  const wanted = parseBool(text);
  if (wanted === false || text === 'mode=none' || isDisabled(text)) return false;
  return parseProvenance(wanted === true ? '' : text);
}

/** Reads the parameters of an `--attest`. Throws `unsupported` when it is not for a provenance. */
function fieldsOf(text: string): string {
  const type = splitCsv(text)
    .find((field) => field.startsWith('type='))
    ?.slice('type='.length);
  if (type === 'provenance') return text;
  if (type === undefined) {
    throw fail('invalid', 'client', `--attest ${text} has no type`, { hint: 'Write type=provenance,….' });
  }
  throw fail('unsupported', 'client', `--attest type=${type} is not supported yet`, {
    hint: 'Leave it out; there is type=provenance.',
  });
}

function isDisabled(text: string): boolean {
  return splitCsv(text).some(
    (field) =>
      field === 'disabled' ||
      (/^disabled=/.test(field) && parseBool(field.slice('disabled='.length)) === true),
  );
}
