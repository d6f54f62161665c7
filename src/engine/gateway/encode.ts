/**
 * Errors in the form that BuildKit's clients read: a status whose details are typed and in JSON. The type URLs and
 * fields are those of https://github.com/moby/buildkit/tree/master/solver/errdefs and frontend/gateway/pb/exit.go.
 */
import { create } from '@bufbuild/protobuf';
import { type Any, AnySchema } from '@bufbuild/protobuf/wkt';
import { type Code, ConnectError, encodeBinaryHeader } from '@connectrpc/connect';
import {
  clip,
  type DrydockError,
  type SourceLocation,
  type SourceRange,
  toDrydockError,
} from '../../errors/index.ts';
import { statusOf, UNIMPLEMENTED, UNKNOWN } from '../../grpc/index.ts';
import { type Status, StatusSchema } from '../../pb/google/rpc/status_pb.js';
import { FrontendFailure } from './failure.ts';
import { fitStatus, shrinkSource } from './fit-status.ts';
import { solveDetailOf } from './solve-failure.ts';
import { stackDetail } from './stack-detail.ts';

const prefix = 'github.com/moby/buildkit/';

/** The longest message, in characters. */
const maxText = 32 << 10;
/** The most bytes of source places in an error. Beyond them a place keeps the lines around it, or is left out. */
const maxSource = 320 << 10;
const maxPlaces = 16;
const maxRanges = 1000;
/** The most lines of a place that get a range each; a longer place stays one range. */
const maxLines = 100;

/** The status of an error, with its details. */
export function errorStatus(err: unknown): Status {
  if (err instanceof FrontendFailure) return err.status;
  const error = toDrydockError(err);
  return create(StatusSchema, {
    code: codeOf(error),
    message: messageOf(error),
    details: detailsOf(error),
  });
}

/** The status that a build's record keeps. It also tells where in Drydock the error arose. */
export function recordStatus(error: DrydockError): Status {
  const { code, message, details } = errorStatus(error);
  const stack = stackDetail(error);
  const first = stack === undefined ? [] : [detail('stack.Stack', stack)];
  return create(StatusSchema, { code, message, details: [...first, ...details] });
}

/**
 * The codes before which clients put the code's name, unless the status is UNKNOWN, as BuildKit's own failures mostly
 * are.
 */
const plain: ReadonlySet<string> = new Set([
  'invalid',
  'conflict',
  'corrupt',
  'failed',
  'internal',
  'unsupported',
]);

function codeOf(error: DrydockError): number {
  const { frontendCapability, subrequest } = error.details ?? {};
  // Clients go on without what a frontend does not know.
  if (frontendCapability !== undefined || subrequest !== undefined) return UNIMPLEMENTED;
  return plain.has(error.code) ? UNKNOWN : statusOf(error).code;
}

/** The error in the form that connect's server sends, in at most `room` bytes of trailers. */
export function encodeError(err: unknown, room: number): ConnectError {
  if (err instanceof ConnectError) return err;
  const status = fitStatus(errorStatus(err), room);
  const headers =
    status.details.length === 0
      ? undefined
      : { 'grpc-status-details-bin': encodeBinaryHeader(status, StatusSchema) };
  return new ConnectError(status.message, status.code as Code, headers, undefined, err);
}

/** The message with its causes and, on lines of their own, the hop and the hint. */
function messageOf(error: DrydockError): string {
  let text = error.code === 'canceled' ? statusOf(error).message : error.message;
  let cause = error.cause;
  for (let depth = 0; cause instanceof Error && depth < 5; depth++, cause = cause.cause) {
    if (cause.message !== '' && !text.includes(cause.message)) text += `: ${cause.message}`;
  }
  const quiet = error.hop === undefined || error.hop === 'client' || error.hop === 'exec';
  if (!quiet && error.hint !== undefined) text += `\nat hop: ${error.hop}`;
  if (error.hint !== undefined) text += `\nhint: ${error.hint}`;
  return clip(text, maxText);
}

function detailsOf(error: DrydockError): Any[] {
  const details: Any[] = [];
  const capability = error.details?.frontendCapability;
  const subrequest = error.details?.subrequest;
  const { vertex } = error;
  const solve = solveDetailOf(error);
  // Clients wrap the error in each, in this order: the outermost comes last.
  if (error.exitCode !== undefined) details.push(detail('gatewayapi.ExitMessage', { Code: error.exitCode }));
  if (capability !== undefined) details.push(detail('errdefs.FrontendCap', { name: capability }));
  if (subrequest !== undefined) details.push(detail('errdefs.Subrequest', { name: subrequest }));
  const feature = error.details?.compatibilityFeature;
  if (feature !== undefined) {
    const version = error.details?.compatibilityVersion;
    details.push(detail('errdefs.CompatibilityFeature', { version, feature }));
  }
  const said = error.details?.denyMessages;
  if (typeof said === 'string') {
    const denyMessages = said.split('\n').map((message) => ({ message }));
    details.push(detail('policysession.DecisionResponse', { action: 1, denyMessages }));
  }
  if (solve !== undefined) details.push(detail('errdefs.Solve', solve));
  if (vertex !== undefined) details.push(detail('errdefs.Vertex', { digest: vertex }));
  let room = maxSource;
  // The last place that was given comes first: so BuildKit's clients list them.
  for (const place of [error.source, ...(error.source?.also ?? [])].slice(0, maxPlaces).reverse()) {
    if (place === undefined) continue;
    const whole = detail('errdefs.Source', sourceOf(place));
    const source = whole.value.length <= room ? whole : shrinkSource(whole, room);
    if (source === undefined) continue;
    room -= source.value.length;
    details.push(source);
  }
  return details;
}

function sourceOf({ filename, text, ranges, language = 'Dockerfile', definition }: SourceLocation): object {
  const lines: SourceRange[] = [];
  for (const range of ranges) if (lines.length < maxRanges) lines.push(...linesOf(range));
  return {
    info: { filename, data: Buffer.from(text).toString('base64'), language, definition },
    ranges: lines,
  };
}

/** A place of several lines as one range for each line, as BuildKit's own frontend gives it. */
function linesOf({ start, end }: SourceRange): SourceRange[] {
  const count = end.line - start.line + 1;
  if (count < 2 || count > maxLines) return [{ start, end }];
  return Array.from({ length: count }, (_, i) => {
    const line = start.line + i;
    return {
      start: i === 0 ? start : { line, character: 0 },
      end: i === count - 1 ? end : { line, character: 0 },
    };
  });
}

function detail(type: string, value: object): Any {
  return create(AnySchema, {
    typeUrl: `${prefix}${type}+json`,
    value: Buffer.from(JSON.stringify(value)),
  });
}
