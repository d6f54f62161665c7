// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the substitutions are the Dockerfile's
/** Word expansion, as a manual: what is written, what comes out. Set: HOME=/home, EMPTY='', GREETING='hello big world', FILE=a/b/c.tar.gz, ÄB=1. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DrydockError } from '../../../src/errors/error.ts';
import { expandWord, expandWords } from '../../../src/frontend/dockerfile/expand/expand.ts';
import { threadMs } from '../../kit/thread-time.ts';

const values: Record<string, string> = {
  HOME: '/home',
  EMPTY: '',
  GREETING: 'hello big world',
  FILE: 'a/b/c.tar.gz',
  STARS: 'a*b*c',
  ÄB: '1',
};
const env = (name: string) => (Object.hasOwn(values, name) ? values[name] : undefined);
const expand = (word: string, esc: '\\' | '`' = '\\') => expandWord(word, env, { escape: esc }).value;

describe('quotes and escapes', () => {
  test.each([
    ['plain', 'plain'],
    [`'single $HOME'`, 'single $HOME'],
    [`"double $HOME"`, 'double /home'],
    [`a'b'"c"d`, 'abcd'],
    [`\\$HOME`, '$HOME'],
    [`\\\\$HOME`, '\\/home'],
    [`\\'`, `'`],
    [`"\\""`, '"'],
    [`"a\\tb"`, 'a\\tb'],
    [`a\\tb`, 'atb'],
    [`'a\\'`, 'a\\'],
    [`end\\`, 'end'],
    ['', ''],
    ['<<EOF', '<<EOF'],
  ])('%s → %s', (word, value) => {
    expect(expand(word)).toBe(value);
  });

  test('with a backtick as the escape, backslashes are ordinary', () => {
    expect(expand('C:\\x', '`')).toBe('C:\\x');
    expect(expand('`$HOME', '`')).toBe('$HOME');
  });
});

describe('variables', () => {
  test.each([
    ['$HOME/x', '/home/x'],
    ['${HOME}x', '/homex'],
    ['$NONE.', '.'],
    ['$', '$'],
    ['a$.b', 'a$.b'],
    ['$1x', 'x'],
    ['$ÄB', '1'],
    // defaults: with a colon an empty value counts as unset
    ['${NONE:-d}', 'd'],
    ['${NONE-d}', 'd'],
    ['${EMPTY:-d}', 'd'],
    ['${EMPTY-d}', ''],
    ['${HOME:-d}', '/home'],
    ['${NONE:-${ALSO:-$HOME}}', '/home'],
    ['${NONE:-"a }"}', 'a }'],
    ['${NONE:-\\}}', '}'],
    // alternatives
    ['${HOME:+y}', 'y'],
    ['${EMPTY:+y}', ''],
    ['${EMPTY+y}', 'y'],
    ['${NONE+y}', ''],
    // demands
    ['${HOME:?}', '/home'],
    ['${EMPTY?}', ''],
    // prefixes and suffixes, shortest and longest
    ['${FILE#*/}', 'b/c.tar.gz'],
    ['${FILE##*/}', 'c.tar.gz'],
    ['${FILE%.*}', 'a/b/c.tar'],
    ['${FILE%%.*}', 'a/b/c'],
    ['${FILE#?/}', 'b/c.tar.gz'],
    ['${FILE%x}', 'a/b/c.tar.gz'],
    ['${FILE#$NONE}', 'a/b/c.tar.gz'],
    ['${STARS#a\\*}', 'b*c'],
    ['${STARS%\\*?}', 'a*b'],
    ['${NONE#x}', ''],
    // replacing the first and every match
    ['${GREETING/o/0}', 'hell0 big world'],
    ['${GREETING//o/0}', 'hell0 big w0rld'],
    ['${GREETING/h*g/bye}', 'bye world'],
    ['${GREETING//l?/-}', 'he-o big wor-'],
    ['${FILE//\\//_}', 'a_b_c.tar.gz'],
    ['${FILE/.tar*/$HOME}', 'a/b/c/home'],
    ['${HOME//*/x}', 'x'],
  ])('%s → %s', (word, value) => {
    expect(expand(word)).toBe(value);
  });

  test('says which variables were used and which were unset, also behind defaults', () => {
    const { used, unset } = expandWord('$HOME ${NONE:-$EMPTY} ${HOME:-$LATER}', env, { escape: '\\' });
    expect([...used]).toEqual(['HOME', 'EMPTY']);
    expect([...unset]).toEqual(['NONE', 'LATER']);
  });

  test('keepUnset leaves what is unset as written', () => {
    const options = { escape: '\\', keepUnset: true } as const;
    expect(expandWord('$A ${B} ${C:-x} ${D#p} ${E//a/b} $HOME', env, options).value).toBe(
      '$A ${B} ${C:-x} ${D#p} ${E//a/b} /home',
    );
  });

  test('skipQuotes is for heredocs: quotes are text, variables are not', () => {
    expect(expandWord(`it's "$HOME"`, env, { escape: '\\', skipQuotes: true }).value).toBe(`it's "/home"`);
  });
});

describe('splitting into words happens behind expansion', () => {
  test.each([
    ['a b', ['a', 'b']],
    ['$GREETING', ['hello', 'big', 'world']],
    ['"$GREETING"', ['hello big world']],
    ['x${GREETING}y', ['xhello', 'big', 'worldy']],
    ['a\\ b', ['a b']],
    ['x${NONE:-1 2}y', ['x1', '2y']],
    ['  ', []],
    ['$EMPTY', []],
    ['<< EOF', ['<< EOF']],
  ])('%s → %j', (word, words) => {
    expect(expandWords(word, env, { escape: '\\' }).values).toEqual(words);
  });
});

describe('errors', () => {
  test.each([
    [`it's`, 'matching single-quote'],
    ['"open', 'matching double-quote'],
    ['${HOME', "missing '}'"],
    ['${', "missing '}'"],
    ['${NONE:-x', "missing '}'"],
    ['${}', 'bad substitution'],
    ['${:-x}', 'bad substitution'],
    ['${{x}}', 'bad substitution'],
    ['${HOME:=x}', 'unsupported modifier (:=) in substitution'],
    ['${HOME^^}', 'unsupported modifier (^) in substitution'],
    ['${HOME:#x}', 'unsupported modifier (:#) in substitution'],
    ['${NONE?}', 'NONE: is not allowed to be unset'],
    ['${EMPTY:?}', 'EMPTY: is not allowed to be empty'],
    ['${NONE:?set me}', 'NONE: set me'],
    ['${HOME/x}', "missing '/' in ${}"],
    ['${HOME/x/y', "missing '}'"],
    ['${HOME#\\q}', "invalid escape '\\q'"],
  ])('%s: %s', (word, message) => {
    const err = (() => {
      try {
        return expand(word);
      } catch (e) {
        return e;
      }
    })();
    expect(err).toBeInstanceOf(DrydockError);
    expect(err).toMatchObject({
      code: 'invalid',
      hop: 'dockerfile',
      message: expect.stringContaining(message),
    });
    expect((err as DrydockError).message).toContain(`failed to process ${JSON.stringify(word)}`);
  });

  test('deep nesting and growing values end in an error, not in a full stack or memory', () => {
    expect(() => expand('${A:-'.repeat(50_000))).toThrow(/nested too deeply/);
    const big = 'x'.repeat(1 << 19);
    expect(() => expandWord('$B$B$B', () => big, { escape: '\\' })).toThrow(/longer than 1 MiB/);
  });

  test('a pattern made to backtrack costs no time', () => {
    const value = 'a'.repeat(20_000);
    const took = threadMs(() => {
      expandWord(`\${V/${'*a'.repeat(1000)}b/x}`, () => value, { escape: '\\' });
      expandWord(`\${V%${'a*'.repeat(1000)}b}`, () => value, { escape: '\\' });
    });
    expect(took).toBeLessThan(2000);
  });
});

describe('for any text', () => {
  const text = fc.string({
    unit: fc.constantFrom(...`ab $\{}:-+?#%/*'"\\<é\n`.split(''), '$HOME', '${NONE'),
    maxLength: 60,
  });

  test('expansion ends in a value or a typed error', () => {
    fc.assert(
      fc.property(text, fc.constantFrom('\\', '`'), (word, esc) => {
        try {
          expandWord(word, env, { escape: esc });
          expandWords(word, env, { escape: esc });
        } catch (err) {
          expect(err).toBeInstanceOf(DrydockError);
          expect((err as DrydockError).code).toBe('invalid');
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('text in single quotes comes out as it is', () => {
    fc.assert(
      fc.property(text, (word) => {
        const plain = word.replaceAll("'", '');
        expect(expand(`'${plain}'`)).toBe(plain);
      }),
    );
  });

  test('escaping every character gives the text itself', () => {
    fc.assert(
      fc.property(text, (word) => {
        expect(expand([...word].map((ch) => `\\${ch}`).join(''))).toBe(word);
      }),
    );
  });

  test('what ${x#p} takes off and what it leaves make up the value', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 20 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 6 });
    fc.assert(
      fc.property(letters, pattern, (value, glob) => {
        const re = new RegExp(`^${glob.replaceAll('*', '.*').replaceAll('?', '.')}$`);
        const cuts = Array.from({ length: value.length + 1 }, (_, i) => i);
        const heads = cuts.filter((i) => re.test(value.slice(0, i)));
        const tails = cuts.filter((i) => re.test(value.slice(i)));
        const x = (word: string) => expandWord(word, () => value, { escape: '\\' }).value;
        expect(x(`\${V#${glob}}`)).toBe(value.slice(heads[0] ?? 0));
        expect(x(`\${V##${glob}}`)).toBe(value.slice(heads.at(-1) ?? 0));
        expect(x(`\${V%${glob}}`)).toBe(value.slice(0, tails.at(-1) ?? value.length));
        expect(x(`\${V%%${glob}}`)).toBe(value.slice(0, tails[0] ?? value.length));
      }),
      { numRuns: 1000 },
    );
  });
});
