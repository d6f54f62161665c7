/** The things that the daemon's machine lacks for building, for the warnings of `/info`. */
import { type Check, probeExecutor } from '../../executor/index.ts';

import type { Network } from '../../network/index.ts';

/** How long a finding holds, in ms. */
const holdsFor = 60_000;

let looked: { at: number; lacks: Promise<string[]> } | undefined;

/** One text for each lack, `lacks NAME: finding. Remedy.`; clients like `drydock doctor` show them. */
export function machineLacks(network: Network): Promise<string[]> {
  const now = Date.now();
  if (looked === undefined || now - looked.at > holdsFor) {
    looked = { at: now, lacks: probeExecutor({ network }).then((checks) => checks.flatMap(lackOf)) };
  }
  return looked.lacks;
}

function lackOf({ ok, name, found, remedy }: Check): string[] {
  return ok ? [] : [`lacks ${name}: ${found}. ${remedy}`];
}
