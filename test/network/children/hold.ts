/** Runs on a host: makes the networks of two steps, says so, and waits to be killed. */
import { join } from 'node:path';
import { createNetwork } from '../../../src/network/index.ts';

const { dir, options } = JSON.parse(process.argv[2] as string) as {
  dir: string;
  options: Parameters<typeof createNetwork>[1];
};
const networks = createNetwork(join(dir, 'network'), options);
for (const asksHost of [false, true]) await networks.acquire({ mode: 'default', asksHost });
console.log('held');
setInterval(() => {}, 1000);
