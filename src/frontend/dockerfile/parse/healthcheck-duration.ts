import { durationNs } from '../../../words/index.ts';
import { invalid } from './errors.ts';

/** Nanoseconds of a flag of HEALTHCHECK. Throws `invalid`. */
export function parseDuration(text: string): number {
  return durationNs(text, (why) =>
    invalid(`time: ${why} ${JSON.stringify(text)}`, 'Write a duration such as 30s or 1m30s.'),
  );
}
