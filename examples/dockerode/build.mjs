/**
 * Builds an image over the Docker API: `node examples/dockerode/build.mjs [SOCKET]`, with `drydock daemon` running.
 * Prints the build's text and the image's ID.
 */
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';

const docker = new Docker({ socketPath: process.argv[2] ?? '/run/drydock/docker.sock' });
const context = fileURLToPath(new URL('./context', import.meta.url));

const stream = await docker.buildImage({ context, src: ['Dockerfile', 'greeting.txt'] }, { t: 'hello:1' });
await new Promise((resolve, reject) => {
  docker.modem.followProgress(
    stream,
    (err) => (err ? reject(err) : resolve()),
    ({ stream: text, error }) => {
      if (error !== undefined) reject(new Error(error));
      process.stdout.write(text ?? '');
    },
  );
});
const { Id } = await docker.getImage('hello:1').inspect();
console.log(Id);
