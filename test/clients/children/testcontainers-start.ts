/** Builds an image with testcontainers and starts it, in a process of its own. Arguments: the context, a command. */
import { GenericContainer, Wait } from 'testcontainers';

const [context = '', ...command] = process.argv.slice(2);
const image = await GenericContainer.fromDockerfile(context).build('started:1', { deleteOnExit: false });
const container = await image
  .withNetworkMode('none')
  .withCommand(command)
  .withCopyContentToContainer([{ content: 'copied', target: '/copied' }])
  .withWaitStrategy(Wait.forLogMessage('up'))
  .start();
const { output, exitCode } = await container.exec(['sh', '-c', 'read x < /copied; echo $x; exit 4']);
await container.stop();
console.log(JSON.stringify([output.trim(), exitCode]));
process.exit(0);
