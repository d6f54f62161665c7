import type { Op } from '../pb/solver/pb/ops_pb.js';

/** The largest lists in one op: each item is a mount, a file or a tree of its own. */
const most = {
  mounts: 1000,
  secrets: 1000,
  devices: 1000,
  hosts: 1000,
  limits: 1000,
  'exit codes': 1000,
  actions: 5000,
  inputs: 5000,
} as const;

/** Names the list of an op that is too long, as a part of a sentence; undefined when none is. */
export function opExcess({ op, inputs }: Op): string | undefined {
  const counts: Partial<Record<keyof typeof most, number>> = { inputs: inputs.length };
  if (op.case === 'file') counts.actions = op.value.actions.length;
  if (op.case === 'exec') {
    const { mounts, secretenv, cdiDevices, meta } = op.value;
    counts.mounts = mounts.length;
    counts.secrets = secretenv.length;
    counts.devices = cdiDevices.length;
    counts.hosts = meta?.extraHosts.length ?? 0;
    counts.limits = meta?.ulimit.length ?? 0;
    counts['exit codes'] = meta?.validExitCodes.length ?? 0;
  }
  return listExcess(counts);
}

/** Does the same for lists given by their lengths. */
export function listExcess(counts: Partial<Record<keyof typeof most, number>>): string | undefined {
  for (const [what, count] of Object.entries(counts)) {
    const limit = most[what as keyof typeof most];
    if (count > limit) return `${count} ${what}, more than ${limit}`;
  }
  return undefined;
}

/**
 * The largest number of fields in the work of an op (mounts, actions …) and in an exec's Meta (arguments, variables …),
 * counted before they are decoded.
 */
const mostFields = { op: 8000, meta: 100_000 };
/** The field numbers of ExecOp in Op, and of Meta in ExecOp. */
const [execField, metaField] = [2, 1];

/** The reason why an op's bytes must not be decoded; undefined when they may be, or are no message. */
export function bytesExcess(bytes: Uint8Array): string | undefined {
  const counts = { op: 0, meta: 0 };
  for (const [field, from, to] of fieldsOf(bytes, 0, bytes.length)) {
    for (const [part, start, end] of fieldsOf(bytes, from, to)) {
      if (++counts.op > mostFields.op) return `more than ${mostFields.op} mounts, actions or other parts`;
      if (field !== execField || part !== metaField) continue;
      for (const _ of fieldsOf(bytes, start, end)) {
        if (++counts.meta > mostFields.meta) return `more than ${mostFields.meta} arguments and variables`;
      }
    }
  }
  return undefined;
}

/**
 * The fields of a message that have a length: number, start and end. https://protobuf.dev/programming-guides/encoding
 */
function* fieldsOf(bytes: Uint8Array, start: number, end: number): Generator<[number, number, number]> {
  let at = start;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; at < end; scale *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    return Number.NaN;
  };
  while (at < end) {
    const tag = varint();
    const type = tag % 8;
    if (type === 0) varint();
    else if (type === 1) at += 8;
    else if (type === 5) at += 4;
    else if (type === 2) {
      const length = varint();
      if (!(at + length <= end)) return;
      yield [(tag - type) / 8, at, at + length];
      at += length;
    } else return;
  }
}
