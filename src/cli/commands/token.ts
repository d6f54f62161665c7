import { readFileSync } from 'node:fs';
import { createToken, hashPassword, type Scope, scopes } from '../../auth/index.ts';
import { fail, nearest } from '../../errors/index.ts';
import { type CommandContext, command } from '../command.ts';
import { parseDuration } from '../units.ts';

export default command({
  usage: 'create NAME | password NAME',
  summary: `Make a credential for a daemon's policy file. \`create\` makes a random token and prints it, once, on stdout;
\`password\` reads one that somebody chose from stdin. What goes into the policy file is printed on stderr: a hash.`,
  flags: {
    expires: { type: 'string', value: 'WHEN', help: 'A date (2030-01-31) or how long from now (90d, 12h)' },
    scope: {
      type: 'list',
      value: 'SCOPE',
      help: `Scopes of the rule shown (default build): ${Object.keys(scopes).join(', ')}, *`,
    },
  },
  operands: [2, 2],
  async run(flags, [action = '', name = ''], ctx) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
      throw fail('invalid', 'client', `invalid token name ${JSON.stringify(name)}`, {
        hint: 'A name is up to 64 letters, digits, ".", "_" and "-".',
      });
    }
    const given = scopesOf(flags.scope);
    const expires = flags.expires === undefined ? undefined : expiryOf(flags.expires);
    if (action === 'create') {
      const { token, hash } = createToken();
      ctx.stdout.write(`${token}\n`);
      tell(ctx, { name, hash, expires }, given);
    } else if (action === 'password') {
      const password = readFileSync(0, 'utf8').replace(/\r?\n$/, '');
      if (password.length < 12) {
        throw fail('invalid', 'client', 'the password is shorter than 12 characters', {
          hint: 'Use a longer one, or `drydock token create`, which makes one that cannot be guessed.',
        });
      }
      tell(ctx, { name, hash: await hashPassword(password), expires }, given);
    } else {
      throw fail('invalid', 'client', `unknown action ${JSON.stringify(action)}`, {
        hint: 'Say `drydock token create NAME` or `drydock token password NAME`.',
      });
    }
    return 0;
  },
});

function tell(
  ctx: CommandContext,
  entry: { name: string; hash: string; expires?: string },
  given: readonly string[],
): void {
  const rule = { match: { token: entry.name }, scopes: given };
  ctx.stderr.write(
    `Into "tokens" of the daemon's policy file:\n  ${JSON.stringify(entry)}\n` +
      `Into its "rules":\n  ${JSON.stringify(rule)}\n`,
  );
}

function scopesOf(list: readonly string[]): string[] {
  const known = [...(Object.keys(scopes) as Scope[]), '*'];
  for (const each of list) {
    if (known.includes(each)) continue;
    const like = nearest(each, known);
    throw fail('invalid', 'client', `unknown scope ${JSON.stringify(each)}`, {
      hint: like === undefined ? `Scopes: ${known.join(', ')}.` : `Did you mean ${like}?`,
    });
  }
  return list.length === 0 ? ['build'] : [...list];
}

function expiryOf(text: string): string {
  if (/^\d{4}-\d\d-\d\d(T.*)?$/.test(text)) {
    const time = Date.parse(text);
    if (Number.isNaN(time)) throw fail('invalid', 'client', `invalid --expires ${JSON.stringify(text)}`);
    return new Date(time).toISOString();
  }
  return new Date(Date.now() + parseDuration(text, 'expires')).toISOString();
}
