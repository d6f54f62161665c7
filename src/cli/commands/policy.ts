import { parsePolicy, readPolicyText } from '../../auth/index.ts';
import { fail } from '../../errors/index.ts';
import { command } from '../command.ts';

/** Whether a text is a policy for images, as far as it can be read. */
function isImagePolicy(text: string): boolean {
  try {
    return 'images' in (JSON.parse(text) as object);
  } catch {
    return false;
  }
}

export default command({
  usage: 'check FILE',
  summary: 'Check a policy file of a daemon, or of images, without a daemon: its form, its owner and mode.',
  flags: {},
  operands: [2, 2],
  async run(_flags, [action = '', file = ''], ctx) {
    if (action !== 'check') {
      throw fail('invalid', 'client', `unknown action ${JSON.stringify(action)}`, {
        hint: 'Say `drydock policy check FILE`.',
      });
    }
    const text = readPolicyText(file, process.geteuid?.() ?? 0);
    const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
    if (isImagePolicy(text)) {
      const { parseImagePolicy } = await import('../../signing/image-policy-text.ts');
      ctx.stdout.write(`${file}: ${count(parseImagePolicy(text, file).length, 'rule')} for images\n`);
      return 0;
    }
    const policy = parsePolicy(text, file);
    ctx.stdout.write(
      `${file}: ${count(policy.rules.length, 'rule')}, ${count(policy.tokens.length, 'token')}, ${count(policy.issuers.length, 'OIDC issuer')}\n`,
    );
    return 0;
  },
});
