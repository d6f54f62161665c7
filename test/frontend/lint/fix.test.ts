/** What `--check --fix` writes. */
import { expect, test } from 'vitest';
import type { Finding } from '../../../src/frontend/dockerfile/ast.ts';
import { fixDockerfile } from '../../../src/frontend/dockerfile/lint/fix.ts';
import { lintDockerfile } from '../../../src/frontend/dockerfile/lint/lint.ts';
import { parseDockerfile } from '../../../src/frontend/dockerfile/parse/parse.ts';
import { exposedPorts } from '../../../src/frontend/dockerfile/parse/ports.ts';

/** The findings, as a build tells them. */
function check(text: string) {
  const file = parseDockerfile(text, 'Dockerfile');
  const ports = file.stages.flatMap(({ instructions }) =>
    instructions.flatMap((each) =>
      each.kind === 'EXPOSE' ? exposedPorts(each.values, each.range).findings : [],
    ),
  );
  const found: Finding[] = [...lintDockerfile(file), ...ports];
  return found.map(({ rule, message, range }) => ({ rule, message, location: { ranges: [range] } }));
}

/** The text that is left once nothing more is mended, and the rules that were, in their order. */
function fix(text: string): { text: string; rules: string[] } {
  const rules: string[] = [];
  for (;;) {
    const { text: next, fixed } = fixDockerfile(text, check(text));
    if (fixed.length === 0) return { text, rules };
    rules.push(...fixed.map(({ rule }) => rule));
    text = next;
  }
}

const cases: [what: string, before: string, after: string, rules: string[]][] = [
  [
    'keywords, to the majority',
    'FROM a\nrun b\nCOPY c d\n',
    'FROM a\nRUN b\nCOPY c d\n',
    ['ConsistentInstructionCasing'],
  ],
  [
    'keywords, to lower case',
    'from a\nRUN b\ncopy c d\n',
    'from a\nrun b\ncopy c d\n',
    ['ConsistentInstructionCasing'],
  ],
  ['AS', 'FROM  a  as  b\nRUN c\n', 'FROM  a  AS  b\nRUN c\n', ['FromAsCasing']],
  [
    "a stage's name",
    'FROM a AS Base\nFROM Base\nCOPY --from=Base x y\n',
    'FROM a AS base\nFROM Base\nCOPY --from=Base x y\n',
    ['StageNameCasing'],
  ],
  [
    'a platform that is the default',
    `FROM --platform=\${TARGETPLATFORM} a\n`,
    'FROM a\n',
    ['RedundantTargetPlatform'],
  ],
  [
    'the old form of ENV',
    'FROM a\nENV K v\nENV L  v w $x \nLABEL m n=o\n',
    'FROM a\nENV K=v\nENV L="v w $x" \nLABEL m=n=o\n',
    Array(3).fill('LegacyKeyValueFormat'),
  ],
  [
    'a protocol',
    'FROM a\nEXPOSE 80/TCP 81/udp 82/Udp\n',
    'FROM a\nEXPOSE 80/tcp 81/udp 82/udp\n',
    Array(2).fill('ExposeProtoCasing'),
  ],
  [
    'a port of the host',
    'FROM a\nEXPOSE 127.0.0.1:80:8080 90\n',
    'FROM a\nEXPOSE 8080 90\n',
    ['ExposeInvalidFormat'],
  ],
  [
    'empty lines',
    'FROM a\nRUN b \\\n\n  \\\n # c\n\n  d\nRUN e\n',
    'FROM a\nRUN b \\\n  \\\n # c\n  d\nRUN e\n',
    ['NoEmptyContinuation'],
  ],
];

test.each(cases)('mends %s', (_, before, after, rules) => {
  expect(fix(before)).toEqual({ text: after, rules });
  // Windows' line ends stay, also where they are mixed, and so does a missing one.
  const windows = (text: string) => text.replaceAll('\n', '\r\n').replace('\r\n', '\n').replace(/\r\n$/, '');
  expect(fix(windows(before)).text).toBe(windows(after));
});

test('one mend leads to the next: a keyword, then the AS of its line', () => {
  expect(fix('from a as b\nRUN c\nRUN d\n').text).toBe('FROM a AS b\nRUN c\nRUN d\n');
});

test('all at once, with what is around them as it was', () => {
  const before =
    '# syntax=docker/dockerfile:1\n\n#  a comment \nFROM --platform=$TARGETPLATFORM a as B\t\nrun <<E cat\n\nENV kept as it is\nE\nENV x y\nexpose 1/TCP\nRUN z  \n\n';
  const after =
    '# syntax=docker/dockerfile:1\n\n#  a comment \nFROM a AS b\t\nRUN <<E cat\n\nENV kept as it is\nE\nENV x=y\nEXPOSE 1/tcp\nRUN z  \n\n';
  expect(fix(before).text).toBe(after);
});

test.each([
  ['quotes in the old form', 'FROM a\nENV K v "w  x"\n'],
  ['escapes in the old form', 'FROM a\nENV K v\\ w\n'],
  ['the old form on two lines', 'FROM a\nENV K v \\\n w\n'],
  ['a port out of a variable', 'FROM a\nARG p=80/TCP\nEXPOSE $p\n'],
  ['a stage name of other letters', 'FROM a AS É\n'],
  ['shell forms, names, secrets, labels', 'FROM a AS scratch\nMAINTAINER me\nARG TOKEN\nCMD x\nCMD y\n'],
])('leaves alone what may mean something else: %s', (_, text) => {
  let found: ReturnType<typeof check> = [];
  try {
    found = check(text);
  } catch {
    // No Dockerfile at all: there is nothing to mend.
  }
  expect(fixDockerfile(text, found)).toEqual({ text, fixed: [] });
});

test('what the file does not say any more is left alone', () => {
  const found = check('FROM a as b\n');
  expect(fixDockerfile('FROM a\n', found)).toEqual({ text: 'FROM a\n', fixed: [] });
  expect(fixDockerfile('not a Dockerfile', found).fixed).toEqual([]);
});
