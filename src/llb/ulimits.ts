/** Limits on a step's processes, as in setrlimit(2). Pure. */
import { fail } from '../errors/index.ts';
import type { Ulimit as PbUlimit } from '../pb/solver/pb/ops_pb.js';

export interface Ulimit {
  /** `nofile`, `core`, … */
  name: string;
  /** -1: no limit. */
  soft: number;
  hard: number;
}

const names = new Set(
  'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  ),
);

/**
 * Checks a limit and returns it. Throws `invalid` (hop `client`) on an unknown name, and on a soft limit above the hard
 * one.
 */
export function checkUlimit(limit: Ulimit): Ulimit {
  const { name, soft, hard } = limit;
  if (!names.has(name)) {
    throw fail('invalid', 'client', `invalid ulimit type: ${name}`, {
      hint: `There are: ${[...names].join(', ')}.`,
    });
  }
  if (!Number.isSafeInteger(soft) || !Number.isSafeInteger(hard)) {
    throw fail('invalid', 'client', `invalid ulimit ${name}: its limits must be whole numbers`);
  }
  if (hard !== -1 && (soft > hard || soft === -1)) {
    throw fail(
      'invalid',
      'client',
      `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
    );
  }
  return limit;
}

/** The limits of an exec op. Throws `invalid`. */
export function ulimitsOf(list: readonly PbUlimit[]): Ulimit[] {
  return list.map(({ Name, Soft, Hard }) =>
    checkUlimit({ name: Name, soft: Number(Soft), hard: Number(Hard) }),
  );
}

/** Parses `nofile=1024:2048` (soft and hard limit); a single number is both. Throws `invalid`. */
export function parseUlimit(text: string): Ulimit {
  const match = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(text);
  if (match === null) {
    throw fail('invalid', 'client', `invalid ulimit argument: ${text}`, { hint: 'Want NAME=SOFT[:HARD].' });
  }
  const [, name = '', soft = '', hard = soft] = match;
  return checkUlimit({ name, soft: Number(soft), hard: Number(hard) });
}
