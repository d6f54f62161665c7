/**
 * The failure of a step in the form that clients read: with its op and, where the step left something, ids by which a
 * frontend can mount it. `errdefs.Solve` of https://github.com/moby/buildkit/blob/master/solver/errdefs/errdefs.proto
 */
import { fromBinary, toJson } from '@bufbuild/protobuf';
import { DrydockError } from '../../errors/index.ts';
import { toBinary as encodeOp, OpSchema as LlbOpSchema } from '../../llb/index.ts';
import { type Op, OpSchema } from '../../pb/solver/pb/ops_pb.js';
import { failedVertex, leftoversOf } from '../../solver/index.ts';
import type { Ref } from '../../store/index.ts';

/** The JSON form of `errdefs.Solve`. */
export interface SolveDetail {
  inputIDs?: string[];
  mountIDs?: string[];
  op: object;
  description?: Readonly<Record<string, string>>;
  /** The file action that failed. */
  file?: { index: number };
  /** The input that could not be read for the cache key. */
  cache?: { index: number };
}

/** The largest op, in characters of its JSON, that a detail has: details travel in a header. */
const maxOp = 64 << 10;

declare module '../../errors/error.ts' {
  interface ErrorFacts {
    solve?: SolveDetail;
  }
}

/** The detail of a failure; undefined when no vertex failed, or its op is too large. */
export function solveDetailOf(error: unknown): SolveDetail | undefined {
  if (!(error instanceof DrydockError)) return undefined;
  if (error.facts.solve !== undefined) return error.facts.solve;
  const vertex = failedVertex(error);
  if (vertex === undefined) return undefined;
  const op = opJson(vertex.op);
  if (JSON.stringify(op).length > maxOp) return undefined;
  return { op, ...descriptionOf(error) };
}

/**
 * The failure with its detail, when the step left something; `name` gives a tree an id. Other failures are returned as
 * they are.
 */
export function solveFailure(error: unknown, name: (ref: Ref) => string): unknown {
  const left = leftoversOf(error);
  if (left === undefined || !(error instanceof DrydockError)) return error;
  const ids = (refs: readonly (Ref | undefined)[]) => refs.map((ref) => (ref === undefined ? '' : name(ref)));
  // The same failure may be another build's, whose ids are others.
  const mine = new DrydockError(error.message, { ...error, cause: error.cause });
  const { inputs, mounts, op, subject } = left;
  const detail: SolveDetail = {
    inputIDs: ids(inputs),
    mountIDs: ids(mounts),
    op: opJson(op),
    ...descriptionOf(error),
  };
  if (subject !== undefined && 'file' in subject) detail.file = { index: subject.file };
  if (subject !== undefined && 'input' in subject) detail.cache = { index: subject.input };
  mine.facts.solve = detail;
  return mine;
}

/**
 * The description, left out when there is none: clients from before 0.12 cannot use a detail that has a field they do
 * not know.
 */
function descriptionOf(error: DrydockError): Pick<SolveDetail, 'description'> {
  const description = failedVertex(error)?.metadata?.description ?? {};
  return Object.keys(description).length === 0 ? {} : { description };
}

function opJson(op: Op): object {
  const message = fromBinary(OpSchema, encodeOp(LlbOpSchema, op));
  return toJson(OpSchema, message, { enumAsInteger: true }) as object;
}
