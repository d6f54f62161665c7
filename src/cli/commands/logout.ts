import { endpointOf } from '../../registry/index.ts';
import { forgetAccount } from '../../session/index.ts';
import { hostOfAddress } from '../../words/index.ts';
import { command } from '../command.ts';

export default command({
  usage: '[SERVER]',
  summary: 'Forget the account of a registry (default: Docker Hub), as `docker logout` does.',
  flags: {},
  operands: [0, 1],
  async run(_flags, [server = 'docker.io'], ctx) {
    const name = hostOfAddress(server);
    const known = await forgetAccount(endpointOf(name).credentialKey, ctx.env);
    ctx.stdout.write(known ? `Removing login credentials for ${name}\n` : `Not logged in to ${name}\n`);
    return 0;
  },
});
