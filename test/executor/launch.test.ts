import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { shellLine } from '../../src/executor/launch.ts';

test('a command keeps its words as a line of a shell, and a line break is refused', () => {
  const words = ['printf', '%s|', "it's", '$HOME', '`id`', '"', '\\', '', ' a  b ', '*', ';', "''"];
  const out = execFileSync('sh', ['-c', shellLine(words, '/')], { encoding: 'utf8' });
  expect(out).toBe(`${words.slice(2).join('|')}|`);
  expect(() => shellLine(['a\nb'], '/')).toThrow('line break');
});
