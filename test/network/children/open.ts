/** Runs on a host: makes the network of a step, or says why not, and takes it away. */
import { join } from 'node:path';
import { createNetwork } from '../../../src/network/index.ts';

const { dir, options } = JSON.parse(process.argv[2] as string) as {
  dir: string;
  options: Parameters<typeof createNetwork>[1];
};
const networks = createNetwork(join(dir, 'network'), options);
try {
  const step = await networks.acquire({ mode: 'default', asksHost: false });
  const { kind, shortfall } = await networks.look();
  step.release();
  console.log(JSON.stringify({ step: step.kind, kind, shortfall }));
} catch (err) {
  const { code, message, hint } = err as { code?: string; message: string; hint?: string };
  console.log(JSON.stringify({ code, message, hint }));
}
await networks.close();
