import type { Op } from '../pb/solver/pb/ops_pb.js';

/** What one op may list: each item is a mount, a file or a tree of its own. */
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

/** What an op lists too many of, as a part of a sentence; undefined when it does not. */
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

/** The same of lists by what they hold. */
export function listExcess(counts: Partial<Record<keyof typeof most, number>>): string | undefined {
  for (const [what, count] of Object.entries(counts)) {
    const limit = most[what as keyof typeof most];
    if (count > limit) return `${count} ${what}, more than ${limit}`;
  }
  return undefined;
}
