/**
 * Builds an image over the Docker API, with `drydock daemon` running: `node examples/dockerode/build.mjs`. The socket is
 * that of DOCKER_HOST, or else /run/drydock.sock. Prints the build's text and the image's ID.
 */
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';

const host = process.env.DOCKER_HOST ?? 'unix:///run/drydock.sock';
const docker = host.startsWith('unix://') ? new Docker({ socketPath: host.slice(7) }) : new Docker();
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
