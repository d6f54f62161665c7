import { text as readAll } from 'node:stream/consumers';
import { fail } from '../../errors/index.ts';
import { endpointOf } from '../../registry/index.ts';
import { keepAccount } from '../../session/index.ts';
import { hostOfAddress } from '../../words/index.ts';
import { command } from '../command.ts';
import { askFor } from '../prompt.ts';
import { registryClient } from '../registry-client.ts';

export default command({
  usage: '[SERVER]',
  summary: `Log in to a registry (default: Docker Hub): the account is tried there, and kept where \`docker login\` keeps
it, for docker's other programs, too.`,
  flags: {
    password: { type: 'string', short: 'p', value: 'PASSWORD', help: 'Others see it in lists of processes' },
    'password-stdin': { type: 'bool', help: 'Read the password from stdin' },
    username: { type: 'string', short: 'u', value: 'NAME', help: 'Account' },
  },
  operands: [0, 1],
  async run(flags, [server = 'docker.io'], ctx) {
    const { host, credentialKey } = endpointOf(hostOfAddress(server));
    if (flags.password !== undefined && flags['password-stdin']) {
      throw fail('invalid', 'client', '--password and --password-stdin are two ways to give the password');
    }
    if (flags['password-stdin'] && !flags.username) {
      throw fail('invalid', 'client', 'must provide --username with --password-stdin');
    }
    if (flags.password !== undefined) {
      ctx.stderr.write('WARNING: a password in a command line can be seen by others: use --password-stdin\n');
    }
    const username = flags.username || (await askFor('Username: ', { ...ctx, hidden: false }));
    const password = flags['password-stdin']
      ? (await readAll(process.stdin)).replace(/\r?\n$/, '')
      : (flags.password ?? (await askFor('Password: ', { ...ctx, hidden: true })));
    if (username === '' || password === '')
      throw fail('invalid', 'client', 'username and password are required');
    const client = registryClient(ctx);
    try {
      await client.login(host, { username, password }, ctx.signal);
    } finally {
      client.close();
    }
    const { where, plain } = await keepAccount(credentialKey, { username, password }, ctx.env);
    if (plain) {
      ctx.stderr.write(
        `WARNING: the password lies unencrypted in ${where}; a credential helper (credsStore there) keeps it better\n`,
      );
    }
    ctx.stdout.write('Login Succeeded\n');
    return 0;
  },
});
