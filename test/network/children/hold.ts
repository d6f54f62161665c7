/** Runs on a host: makes the networks of two steps, says so, and waits to be killed. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createNetwork } from '../../../src/network/index.ts';

const { dir, options } = JSON.parse(process.argv[2] as string) as {
  dir: string;
  options: Parameters<typeof createNetwork>[1];
};
const networks = createNetwork(join(dir, 'network'), options);
for (const asksHost of [false, true]) await networks.acquire({ mode: 'default', asksHost });
// A plugin that is killed with us in the middle of its work is another matter.
const records = join(dir, 'network', 'cni');
const inMaking = () =>
  existsSync(records) &&
  readdirSync(records).some(
    (name) => name.endsWith('.json') && !readFileSync(join(records, name), 'utf8').includes('"ips"'),
  );
while (inMaking()) await sleep(20);
console.log('held');
setInterval(() => {}, 1000);
