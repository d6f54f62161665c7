/** No flag of our own commands is swallowed: each is read somewhere else than in the table that declares it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { FlagTable } from '../../src/cli/flags.ts';

const cli = join(import.meta.dirname, '../../src/cli');
const commands = readdirSync(join(cli, 'commands')).filter((file) => file.endsWith('.ts'));

/** Flags that ask for what is so in any case. */
const byNature: Record<string, Record<string, string>> = {
  'images.ts': { all: 'there are no intermediate images to leave out' },
  'image.ts': { force: 'nothing is asked' },
  'prune.ts': { force: 'nothing is asked' },
  'build.ts': { 'force-rm': "a step's container does not outlive it" },
  'lock.ts': { 'force-rm': "a step's container does not outlive it" },
  'debug.ts': { 'force-rm': "a step's container does not outlive it" },
};

/** Sources that read a command's flags beside its own. */
function readers(file: string): string {
  const files = [join(cli, 'commands', file)];
  if (file === 'daemon.ts') {
    const settings = [
      'daemon/settings.ts',
      'network/settings.ts',
      'engine/step-limits.ts',
      'engine/step-rights.ts',
    ];
    files.push(...settings.map((name) => join(cli, '..', name)));
  }
  // A lock is made by a build.
  if (file === 'lock.ts') files.push(join(cli, 'commands/build.ts'));
  const rooms = {
    'build.ts': ['build', 'check', 'debug'],
    'lock.ts': ['build', 'check', 'debug'],
    'debug.ts': ['build', 'check', 'debug'],
    'bake.ts': ['bake'],
    'imagetools.ts': ['imagetools'],
    'buildctl.ts': ['buildctl'],
    'history.ts': ['history'],
  }[file];
  for (const dir of (rooms ?? []).map((name) => join(cli, name))) {
    files.push(...readdirSync(dir).map((name) => join(dir, name)));
  }
  // The form of progress is read in one place for all.
  if (['build.ts', 'lock.ts', 'bake.ts', 'debug.ts', 'imagetools.ts'].includes(file))
    files.push(join(cli, 'progress/mode.ts'));
  return files
    .filter((path) => !path.endsWith('build/flags.ts'))
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n');
}

test.each(commands)('%s', async (file) => {
  const { default: command } = (await import(join(cli, 'commands', file))) as {
    default?: { flags?: FlagTable };
  };
  // A flag of each worker is read by a pattern with the worker's name in it.
  const text = readers(file).replaceAll(/`\$\{worker\}-([\w-]+)`/g, "'oci-$1' 'containerd-$1'");
  // Pairs of flags are read by a template with the name of the first in it; `given` and `signer` are flags that are handed on.
  const all = text
    .replaceAll(/`\$\{name\}-regexp`/g, "'certificate-identity-regexp' 'certificate-oidc-issuer-regexp'")
    .replaceAll(/\b(given|signer)\./g, 'flags.');
  const swallowed = Object.keys(command?.flags ?? {}).filter((name) => {
    if (byNature[file]?.[name] !== undefined) return false;
    const quoted = name.replaceAll('-', '\\-');
    // `flags.name`, `flags['name']`, `{ name, … } = flags`, or a name in a call or a table by which flags are read.
    const forms = [
      `(flags|values)\\.${quoted}\\b`,
      `\\{[^{}]*\\b${quoted}\\b[^{}]*\\}(: [^=]*)? = flags`,
      `\\{[^{}]*\\b${quoted}\\b[^{}]*\\}: Flags`,
      `\\(\\{ ${quoted}, \\.\\.\\.`,
      `run\\(\\{[^{}]*\\b${quoted}\\b[^{}]*\\}`,
      `'${quoted}'(?!: \\{)`,
      `^  ${quoted}: '`,
    ];
    const read = new RegExp(forms.join('|'), 'm');
    return !read.test(all);
  });
  expect(swallowed).toEqual([]);
});
