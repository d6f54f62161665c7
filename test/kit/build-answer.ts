/** What `POST /build` has said, read as clients read it. */
import { fromBinary } from '@bufbuild/protobuf';
import { type StatusResponse, StatusResponseSchema } from '../../src/pb/moby/buildkit/v1/status_pb.js';
import type { Answer } from './daemon.ts';

export interface BuildLine {
  id?: string;
  aux?: unknown;
  stream?: string;
  error?: string;
  errorDetail?: { message: string; code?: number };
}

export interface BuildAnswer {
  /** The image's ID; undefined when there is none. */
  id?: string;
  /** The first `errorDetail.message`, which clients show. */
  error?: string;
  /** Version 1: its text. */
  text: string;
  /** Version 2: names of vertices that were completed, whether cached or not. */
  done: string[];
  /** Version 2: names of vertices that came from the cache. */
  cached: string[];
}

/** Reads an answer's stream. Throws when the status is not 200, with the daemon's words. */
export function readBuild(answer: Pick<Answer, 'status' | 'text' | 'lines'>): BuildAnswer {
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
  const lines = answer.lines<BuildLine>();
  const ids = lines.flatMap(({ id, aux }) =>
    aux !== undefined && (id === undefined || id === 'moby.image.id') ? [(aux as { ID: string }).ID] : [],
  );
  const vertexes = traces(lines).flatMap((status) => status.vertexes);
  const names = (of: typeof vertexes) => [...new Set(of.map(({ name }) => name))];
  return {
    id: ids.at(-1),
    error: lines.find(({ errorDetail }) => errorDetail !== undefined)?.errorDetail?.message,
    text: lines.map(({ stream }) => stream ?? '').join(''),
    done: names(vertexes.filter(({ completed, error }) => completed !== undefined && error === '')),
    cached: names(vertexes.filter(({ cached }) => cached)),
  };
}

/** BuildKit's messages in a stream of version 2. */
export function traces(lines: readonly BuildLine[]): StatusResponse[] {
  return lines
    .filter(({ id }) => id === 'moby.buildkit.trace')
    .map(({ aux }) => fromBinary(StatusResponseSchema, Buffer.from(String(aux), 'base64')));
}
