/** Statuses made as small as the trailers of an answer have to be. Pure. */
import { create } from '@bufbuild/protobuf';
import { type Any, AnySchema } from '@bufbuild/protobuf/wkt';
import { clipEncoded, messageRoom } from '../../grpc/index.ts';
import { type Status, StatusSchema } from '../../pb/google/rpc/status_pb.js';

/** The bytes of the other trailers, and of the names of all. */
const overhead = 512;
/** A source detail of more bytes than these is not read. */
const maxRead = 2 << 20;
/** The most lines that are left of one range. */
const maxLines = 100;

/** The cuts that are tried in turn: lines left around each range, characters of a line, ranges. The last has no text. */
const cuts = [
  { around: 10, width: 1000, ranges: 1000 },
  { around: 3, width: 200, ranges: 20 },
  { around: 0, width: 0, ranges: 20 },
];

/**
 * The status with its message clipped and with as many of its details as `room` bytes of trailers hold. Of the files
 * that failed the lines far from the failure are emptied; then steps (`errdefs.Solve`) are the first to be left out.
 */
export function fitStatus(status: Status, room: number): Status {
  const message = clipEncoded(status.message, messageRoom(room), encodeURIComponent);
  // Details are in base64.
  const free = room - overhead - encodeURIComponent(message).length;
  let left = Math.floor((free * 3) / 4) - Buffer.byteLength(message);
  const kept = new Map<Any, Any>();
  const keep = (detail: Any, fitted: Any | undefined = detail) => {
    const size = sizeOf(fitted);
    if (size > left) return;
    left -= size;
    kept.set(detail, fitted);
  };
  const of = (type: string) => status.details.filter(({ typeUrl }) => typeUrl.endsWith(type));
  const sources = of('/errdefs.Source+json');
  const steps = of('/errdefs.Solve+json');
  for (const each of status.details) if (!sources.includes(each) && !steps.includes(each)) keep(each);
  // The last is what clients show first.
  for (const each of sources.reverse()) {
    if (sizeOf(each) <= left) keep(each);
    else keep(each, shrinkSource(each, left - overhead));
  }
  for (const each of steps) keep(each);
  const details = status.details.flatMap((detail) => kept.get(detail) ?? []);
  return create(StatusSchema, { code: status.code, message, details });
}

const sizeOf = ({ typeUrl, value }: Any) => typeUrl.length + value.length + 16;

/** The fields of `errdefs.Source` that are read here. */
interface Source {
  info?: { data?: string; definition?: object };
  ranges?: { start?: { line?: number }; end?: { line?: number } }[];
}

/** A place in a file (`errdefs.Source`) in at most `max` bytes; undefined when that cannot be. */
export function shrinkSource(detail: Any, max: number): Any | undefined {
  if (detail.value.length > maxRead) return undefined;
  const source = parsed(detail.value);
  if (source === undefined) return undefined;
  const { info, ranges = [] } = source;
  const lines = Buffer.from(info?.data ?? '', 'base64')
    .toString('utf8')
    .split('\n');
  const definitions = info?.definition === undefined ? [undefined] : [info.definition, undefined];
  for (const definition of definitions) {
    for (const cut of cuts) {
      const some = ranges.slice(0, cut.ranges);
      const text = linesAround(lines, some, cut);
      if (text.length > max) continue;
      const data = Buffer.from(text).toString('base64');
      const value = Buffer.from(
        JSON.stringify({ ...source, info: { ...info, data, definition }, ranges: some }),
      );
      if (value.length <= max) return create(AnySchema, { typeUrl: detail.typeUrl, value });
    }
  }
  return undefined;
}

function parsed(value: Uint8Array): Source | undefined {
  try {
    const source = JSON.parse(Buffer.from(value).toString()) as Source | null;
    const whole =
      typeof source === 'object' &&
      typeof (source?.info?.data ?? '') === 'string' &&
      (source?.ranges ?? []).every((range) => typeof range === 'object' && range !== null);
    return whole ? (source ?? undefined) : undefined;
  } catch {
    return undefined;
  }
}

/** The text with lines that are far from all ranges emptied, so that the others keep their numbers. */
function linesAround(
  lines: readonly string[],
  ranges: NonNullable<Source['ranges']>,
  { around, width }: (typeof cuts)[number],
): string {
  if (width === 0) return '';
  const near = new Map<number, string>();
  let end = 0;
  for (const range of ranges) {
    const from = Number(range.start?.line ?? 1);
    const to = Math.min(Number(range.end?.line ?? from), from + maxLines);
    const last = Math.min(lines.length, to + around);
    for (let line = Math.max(1, from - around); line <= last; line++) {
      near.set(line, (lines[line - 1] as string).slice(0, width));
      end = Math.max(end, line);
    }
  }
  return Array.from({ length: end }, (_, i) => near.get(i + 1) ?? '')
    .join('\n')
    .toWellFormed();
}
