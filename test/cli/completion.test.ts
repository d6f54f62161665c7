/** `drydock completion`: bash's script is tried in bash; the others are read. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { completionScript } from '../../src/cli/completion.ts';
import { Cli } from '../kit/cli.ts';

let cli: Cli;
beforeAll(() => {
  cli = new Cli();
});
afterAll(() => cli?.close());

test('bash completes commands and the flags of each', async () => {
  const script = (await cli.ok(['completion', 'bash'])).stdout;
  const complete = (...words: string[]) => {
    const quoted = words.map((word) => `'${word}'`).join(' ');
    const ask = `COMP_WORDS=(drydock ${quoted}); COMP_CWORD=${words.length}; _drydock; echo "\${COMPREPLY[*]}"`;
    return execFileSync('bash', ['-c', `${script}\n${ask}`], { encoding: 'utf8' })
      .trim()
      .split(' ');
  };
  expect(complete('bui')).toEqual(['build', 'buildctl', 'buildkitd']);
  expect(complete('--ho')).toEqual(['--host']);
  expect(complete('build', '--no-c')).toEqual(['--no-cache', '--no-cache-filter']);
  expect(complete('--root', 'build', 'save', '--pl')).toEqual(['--platform']);
  expect(complete('build', '')).toEqual(['']);
  expect(complete('history', '')).toEqual(['ls', 'inspect', 'logs', 'rm']);
  expect(complete('imagetools', 'c')).toEqual(['create']);
  expect(complete('image', 'r')).toEqual(['remove', 'rm']);
  expect(complete('history', 'ls', 'r')).toEqual(['']);
  expect(complete('build', '--progress', 'r')).toEqual(['rawjson']);
  expect(complete('build', '--progress', '=')).toContain('tty');
  expect(complete('build', '--progress', '=', 'q')).toEqual(['quiet']);
  expect(complete('bake', '--list', '')).toEqual(['targets', 'variables']);
  expect(complete('unknown', '--x')).toEqual(['']);
});

test('zsh and fish have them with their help', () => {
  const flags = {
    tag: { type: 'list', short: 't', value: 'NAME[:TAG]', help: "the image's name [x]: y" },
    quiet: { type: 'bool', help: 'say little' },
    how: { type: 'string', value: 'json|text', help: 'the form' },
    old: { type: 'bool', help: 'unseen', hidden: true },
  } as const;
  const commands = new Map([
    ['build', { summary: "Build: it's made", usage: 'all | one NAME | NAME', flags }],
  ]);
  const zsh = completionScript('zsh', commands);
  expect(zsh).toContain("'build:Build\\: it'\\''s made'");
  expect(zsh).toContain("'*--tag=[the image'\\''s name \\[x\\]\\: y]:NAME\\[\\:TAG\\]:_files'");
  expect(zsh).toContain("'*--quiet[say little]'");
  const fish = completionScript('fish', commands);
  expect(fish).toContain("-a build -d 'Build: it\\'s made'");
  expect(fish).toContain("-l tag -s t -r -d 'the image\\'s name [x]: y'");
  expect(fish).toContain("-l quiet -d 'say little'");
  expect(zsh).toContain("'*--how=[the form]:json|text:(json text)'");
  expect(zsh).toContain("'1:command:(all one)'");
  expect(fish).toContain("-l how -x -a 'json text' -d 'the form'");
  expect(fish).toContain("and not __fish_seen_subcommand_from all one' -a 'all one'");
  expect(zsh + fish).not.toContain('old');
  expect(() => completionScript('tcsh', commands)).toThrow('no completion for tcsh');
});
