import { version } from '../../version.ts';
import { command } from '../command.ts';

export default command({
  usage: '',
  summary: 'Show the version of Drydock and of the Node that runs it.',
  flags: {},
  operands: [0, 0],
  async run(_flags, _args, { stdout }) {
    stdout.write(`drydock ${version} (node ${process.version}, ${process.platform}/${process.arch})\n`);
    return 0;
  },
});
