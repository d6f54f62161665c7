import { parsePolicy, readPolicyText } from '../../auth/index.ts';
import { fail } from '../../errors/index.ts';
import { command } from '../command.ts';

export default command({
  usage: 'check FILE',
  summary: "Check a daemon's policy file, without a daemon: its form, its owner and mode.",
  flags: {},
  operands: [2, 2],
  async run(_flags, [action = '', file = ''], ctx) {
    if (action !== 'check') {
      throw fail('invalid', 'client', `unknown action ${JSON.stringify(action)}`, {
        hint: 'Say `drydock policy check FILE`.',
      });
    }
    const policy = parsePolicy(readPolicyText(file, process.geteuid?.() ?? 0), file);
    const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
    ctx.stdout.write(
      `${file}: ${count(policy.rules.length, 'rule')}, ${count(policy.tokens.length, 'token')}, ${count(policy.issuers.length, 'OIDC issuer')}\n`,
    );
    return 0;
  },
});
