/** What the daemon's machine lacks for building, as `/info` tells it in its warnings. */
import { type Check, probeExecutor } from '../../executor/index.ts';

/** How long what was found holds, ms. */
const holdsFor = 60_000;

let looked: { at: number; lacks: Promise<string[]> } | undefined;

/** `lacks NAME: what was found. What to do.`, one each; clients like `drydock doctor` show them. */
export function machineLacks(): Promise<string[]> {
  const now = Date.now();
  if (looked === undefined || now - looked.at > holdsFor) {
    looked = { at: now, lacks: probeExecutor().then((checks) => checks.flatMap(lackOf)) };
  }
  return looked.lacks;
}

function lackOf({ ok, name, found, remedy }: Check): string[] {
  return ok ? [] : [`lacks ${name}: ${found}. ${remedy}`];
}
