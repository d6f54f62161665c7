/** When buildkitd takes from the cache by itself: its file's keys and its flags, and the rules that come of both. */
import { fail } from '../errors/index.ts';
import type { GcRule, Space } from '../upkeep/index.ts';
import { ramInBytes } from '../words/index.ts';
import type { Keys } from './buildkitd-keys.ts';
import type { TomlReader } from './toml-reader.ts';

/** What the file or the flags say of it. */
export interface GcSettings {
  enabled?: boolean;
  rules?: GcRule[];
  /** Limits for buildkitd's own rules. */
  limits?: GcRule;
}

/** The file's keys. */
export const gcKeys: Keys = {
  gc: 'used',
  gckeepstorage: 'used',
  reservedSpace: 'used',
  maxUsedSpace: 'used',
  minFreeSpace: 'used',
  gcpolicy: {
    '[]': {
      all: 'used',
      filters: 'used',
      keepDuration: 'used',
      keepBytes: 'used',
      reservedSpace: 'used',
      maxUsedSpace: 'used',
      minFreeSpace: 'used',
    },
  },
};

/** Reads a worker's table. Throws `invalid` for values of the wrong type. */
export function gcAt(at: TomlReader, path: readonly string[]): GcSettings {
  const rules = at.tables(...path, 'gcpolicy').map((rule): GcRule => {
    return {
      all: rule.bool('all'),
      filters: rule.list('filters'),
      unusedFor: rule.duration('keepDuration'),
      reservedSpace: spaceAt(rule, 'reservedSpace') ?? spaceAt(rule, 'keepBytes'),
      maxUsedSpace: spaceAt(rule, 'maxUsedSpace'),
      minFreeSpace: spaceAt(rule, 'minFreeSpace'),
    };
  });
  const limits: GcRule = {
    reservedSpace: spaceAt(at, ...path, 'reservedSpace'),
    maxUsedSpace: spaceAt(at, ...path, 'maxUsedSpace'),
    minFreeSpace: spaceAt(at, ...path, 'minFreeSpace'),
  };
  // `gckeepstorage` is the name before BuildKit 0.17.
  const older = { reservedSpace: spaceAt(at, ...path, 'gckeepstorage') };
  return {
    enabled: at.bool(...path, 'gc'),
    ...(rules.length > 0 && { rules }),
    ...(saysAny(limits) ? { limits } : saysAny(older) && { limits: older }),
  };
}

function saysAny(limits: GcRule): boolean {
  return Object.values(limits).some((space) => space !== undefined);
}

/** `--oci-worker-gc` and `--oci-worker-gc-keepstorage RESERVED[,FREE[,MAXIMUM]]` in MB. Throws `invalid`. */
export function gcOfFlags(enabled: boolean | undefined, keep: string | undefined): GcSettings {
  if (keep === undefined || keep === '') return { enabled };
  if (!/^\d+(,\d+){0,2}$/.test(keep)) {
    throw fail('invalid', 'client', `${JSON.stringify(keep)} is no Reserved[,Free[,Maximum]] in MB`);
  }
  const [reservedSpace, minFreeSpace, maxUsedSpace] = keep.split(',').map((mb) => Number(mb) * 1e6);
  return { enabled, limits: { reservedSpace, minFreeSpace, maxUsedSpace } };
}

/**
 * The rules of both, as buildkitd puts them together: the file's rules stand, whatever limits the flags have, and the
 * flags' limits come before the file's. Undefined: nothing is said, and Drydock's own policy holds; empty: nothing is
 * removed by itself.
 */
export function gcRules(flags: GcSettings = {}, file: GcSettings = {}): GcRule[] | undefined {
  if ((flags.enabled ?? file.enabled) === false) return [];
  const limits = flags.limits ?? file.limits;
  return file.rules ?? (limits && policyWithin(limits));
}

/**
 * buildkitd's own policy within limits: it removes first the records that are made again most easily, then old ones,
 * then all.
 */
export function policyWithin(limits: GcRule): GcRule[] {
  const hour = 3_600_000;
  const easy = ['type==source.local', 'type==exec.cachemount', 'type==source.git.checkout'];
  return [
    { filters: easy, unusedFor: 48 * hour, maxUsedSpace: 512e6 },
    { unusedFor: 60 * 24 * hour, ...limits },
    limits,
    { all: true, ...limits },
  ];
}

function spaceAt(at: TomlReader, ...path: string[]): Space | undefined {
  const value = at.textOrNumber(...path);
  return value === undefined || value === '' ? undefined : parseSpace(String(value), at.name(...path));
}

/**
 * A number of bytes with or without a unit (`512MB`, in steps of 1024), or a share of the disk (`10%`). Throws
 * `invalid`.
 */
export function parseSpace(text: string, what: string): Space {
  const percent = /^(\d{1,3})%$/.exec(text)?.[1];
  if (percent !== undefined) return { percent: Number(percent) };
  const bytes = ramInBytes(text);
  if (bytes === undefined) {
    throw fail('invalid', 'client', `${what} is no amount of space: ${JSON.stringify(text)}`, {
      hint: 'Write bytes, 512MB or 10%.',
    });
  }
  return bytes;
}
