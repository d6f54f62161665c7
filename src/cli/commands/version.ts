import { version } from '../../version.ts';
import { command } from '../command.ts';

export default command({
  usage: '',
  summary: 'Show the version of Drydock and of the Node that runs it.',
  flags: {},
  operands: [0, 0],
  async run(_flags, _args, { stdout, signal, remote }) {
    stdout.write(`drydock ${version} (node ${process.version}, ${process.platform}/${process.arch})\n`);
    const daemon = await remote();
    if (daemon !== undefined) {
      const { askJson } = await import('../remote/endpoint.ts');
      const request = { method: 'GET', path: '/version', signal };
      const { Version, ApiVersion } = await askJson<Record<string, string>>(daemon.endpoint, request);
      stdout.write(`daemon ${Version} (API ${ApiVersion}, ${daemon.endpoint.name})\n`);
    }
    return 0;
  },
});
