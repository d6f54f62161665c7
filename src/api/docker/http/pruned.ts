/** The answer of a prune: one report, or (API 1.56, `stream=1`) a line for each thing that is gone, and then the report. */
import { drained } from '../../../flow/index.ts';
import type { Call } from './route.ts';
import { isBefore } from './version.ts';

/**
 * Answers with a report. As a stream, `gone` are the things by name, with docker's word for what happened to each
 * (`Deleted`, `Untagged`), and the report is the last object's `aux`.
 */
export async function pruned(
  { query, version, response }: Pick<Call, 'query' | 'version' | 'response'>,
  report: object,
  gone: readonly { id: string; status: string }[] = [],
): Promise<{ json: object } | undefined> {
  if (isBefore(version, '1.56') || !query.bool('stream')) return { json: report };
  response.writeHead(200, { 'content-type': 'application/jsonl' });
  for (const each of gone) {
    const isFull = !response.write(`${JSON.stringify(each)}\n`);
    if (isFull && !response.destroyed) await drained(response);
  }
  response.end(`${JSON.stringify({ aux: report })}\n`);
  return undefined;
}
