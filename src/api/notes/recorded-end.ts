/** How a noted build ended, as the history takes it. */
import type { NoteEnd } from '../../records/index.ts';
import type { RecordedEnd } from '../buildkit/history/record.ts';
import { decodedError } from './note-error.ts';

/** The end of a build, of its note's last line. */
export function recordedEnd({
  at,
  details,
  error,
  response,
  results,
  documents,
  predicates,
}: NoteEnd): RecordedEnd {
  return {
    at,
    details,
    error: error === undefined ? undefined : decodedError(error),
    response: response && { ...response },
    results: new Map(results ?? []),
    documents: documents?.map((each) => Buffer.from(each, 'base64')),
    predicates: new Map(
      predicates?.map(([name, predicateType, value]) => [
        name,
        { predicateType, predicate: async () => value as Record<string, unknown> },
      ]),
    ),
  };
}
