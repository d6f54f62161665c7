/** Runs on a host: gives a step's network back after it was used in several ways, and says whether the next step gets it. */
import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createNetwork } from '../../../src/network/index.ts';

const { dir, mode } = JSON.parse(process.argv[2] as string) as { dir: string; mode: 'bridge' | 'pasta' };
const uses: Record<string, { command: string[]; isClean: boolean }> = {
  nothing: { command: ['true'], isClean: true },
  'a look': { command: ['cat', '/proc/net/route'], isClean: true },
  'a packet to itself': { command: ['bash', '-c', 'echo > /dev/udp/127.0.0.1/9'], isClean: true },
  'a packet to nobody': { command: ['bash', '-c', 'echo > /dev/udp/198.51.100.77/9'], isClean: true },
  'a process with rights': { command: ['true'], isClean: false },
};
const told: Record<string, string> = {};
for (const [use, { command, isClean }] of Object.entries(uses)) {
  // A program of its own for each namespace takes its time.
  if (mode === 'pasta' && !['nothing', 'a packet to nobody'].includes(use)) continue;
  // A packet for an earlier step may still come, and is answered: then even an unused one is thrown away.
  told[use] = 'is gone';
  for (let attempt = 0; attempt < 3; attempt++)
    if (await servesAgain(command, isClean)) told[use] = 'serves another step';
}

console.log(JSON.stringify(told));

async function servesAgain([program = '', ...args]: string[], isClean: boolean): Promise<boolean> {
  const networks = createNetwork(join(dir, 'network'), { mode, lasts: true });
  const step = await networks.acquire({ mode: 'default', asksHost: false });
  // Held: a new namespace could have the number of one that is gone.
  const held = openSync(step.namespace as string, 'r');
  const before = fstatSync(held).ino;
  execFileSync('nsenter', [`--net=${step.namespace}`, program, ...args], { stdio: 'ignore' });
  step.release(isClean);
  // The kernel may be in the middle of a packet of its own: then a second look decides.
  await sleep(100);
  const later = [];
  for (let i = 0; i < 2; i++) later.push(await networks.acquire({ mode: 'default', asksHost: false }));
  const isThere = later.some(({ namespace = '' }) => statSync(namespace).ino === before);
  for (const each of later) each.release();
  await networks.close();
  closeSync(held);
  return isThere;
}
