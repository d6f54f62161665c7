/** What builds are told, as an operator wants it. Pure. */
import { fail } from '../errors/index.ts';
import { parseBool } from '../words/index.ts';

export interface TellOptions {
  /** Steps that run say why they were not cached; default: yes. */
  explain?: boolean;
  /** A folder of JSON files whose fields go into every provenance, as facts about the environment; default: none. */
  provenanceEnvDir?: string;
  /** Takes warnings about the engine itself, such as spans that cannot be sent; default: to stderr. */
  warn?: (text: string) => void;
}

/** What `DRYDOCK_EXPLAIN` says; undefined when it says nothing. Throws `invalid`. */
export function explainFromEnv({ DRYDOCK_EXPLAIN: text }: NodeJS.ProcessEnv): boolean | undefined {
  if (text === undefined || text === '') return undefined;
  const on = parseBool(text);
  if (on === undefined) throw fail('invalid', 'client', `DRYDOCK_EXPLAIN=${text}: want true or false`);
  return on;
}
