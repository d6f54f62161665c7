/** A build that was saved as one document: its data lies in it, and nothing is asked of anybody. */
import type { BuildDetail, LogLine } from '../../src/api/ui/types.ts';
import { ApiError, type Source } from './source.ts';

/** What the document of an archive has in its element `archive`. */
interface Archive {
  build: BuildDetail;
  /** By step, the lines that it printed. */
  logs: Record<string, [text: string, stream: 1 | 2, at: number][]>;
  documents: Record<string, unknown>;
}

/** The source of an archive; undefined when the page is none. */
export function archiveSource(): Source | undefined {
  const element = document.getElementById('archive');
  if (element === null) return undefined;
  const { build, logs, documents } = JSON.parse(element.textContent ?? '') as Archive;
  const linesOf = (step: string): LogLine[] =>
    (logs[step] ?? []).map(([text, stream, at]) => ({ text, stream, at }));
  return {
    archive: build.ref,
    me: async () => ({ who: '', scopes: [], now: Date.now(), history: false }),
    builds: async () => ({ builds: [build], more: false }),
    followBuilds: () => () => {},
    async build(ref) {
      if (ref !== build.ref) throw new ApiError(404, `This archive has no build ${ref}.`);
      return build;
    },
    follow(_ref, listener) {
      listener.build(build);
      listener.end();
      return () => {};
    },
    async log(_ref, step, from, count) {
      const lines = linesOf(step);
      return { total: lines.length, from, lines: lines.slice(from, from + count) };
    },
    async search(_ref, step, text) {
      const wanted = text.toLowerCase();
      const lines = linesOf(step).flatMap((line, i) => (line.text.toLowerCase().includes(wanted) ? [i] : []));
      return { lines, more: false };
    },
    async document(_ref, digest) {
      if (!(digest in documents)) throw new ApiError(404, 'The archive does not have this document.');
      return documents[digest];
    },
    logAddress: () => undefined,
    archiveAddress: () => undefined,
  };
}
