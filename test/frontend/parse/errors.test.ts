/** What the parser says to a wrong Dockerfile: BuildKit's words, the place, and what to do. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DrydockError } from '../../../src/errors/error.ts';
import { lintDockerfile } from '../../../src/frontend/dockerfile/lint/lint.ts';
import { toWarnings } from '../../../src/frontend/dockerfile/lint/warnings.ts';
import { parseDockerfile, parseInstruction } from '../../../src/frontend/dockerfile/parse/parse.ts';
import { threadMs } from '../../kit/thread-time.ts';

function failure(text: string): DrydockError {
  try {
    parseDockerfile(text, 'my/Dockerfile');
  } catch (err) {
    expect(err).toBeInstanceOf(DrydockError);
    return err as DrydockError;
  }
  throw new Error(`no error for ${text}`);
}

const at = (line: string) => `dockerfile parse error on line 2: ${line}`;

test.each([
  // the file
  ['', 'file with no instructions', 1],
  ['# only a comment\n', 'file with no instructions', 1],
  ['ARG a', 'dockerfile contains no stages to build', 1],
  ['\nRUN x', at('no build stage in current context'), 2],
  // keywords
  ['FROM x\nRUNN y', at('unknown instruction: RUNN (did you mean RUN?)'), 2],
  ['FROM x\ncoppy y', at('unknown instruction: coppy (did you mean copy?)'), 2],
  ['FROM x\n&& make', at('unknown instruction: &&'), 2],
  // FROM
  ['\nFROM', at('FROM requires either one or three arguments'), 2],
  ['\nFROM a b', at('FROM requires either one or three arguments'), 2],
  ['\nFROM a is b', at('FROM requires either one or three arguments'), 2],
  [
    '\nFROM a AS 1b',
    at(`invalid name for build stage: "1b", name can't start with a number or contain symbols`),
    2,
  ],
  ['\nFROM --platfrom=x a', at('unknown flag: --platfrom (did you mean platform?)'), 2],
  // flags
  ['FROM x\nCOPY --chwon=1 a b', at('unknown flag: --chwon (did you mean chown?)'), 2],
  ['FROM x\nADD --from=y a b', at('unknown flag: --from'), 2],
  ['FROM x\nCOPY --chown a b', at('missing a value on flag: --chown'), 2],
  ['FROM x\nCOPY --from=a --from=b c d', at('duplicate flag specified: --from'), 2],
  ['FROM x\nCOPY --link=2 c d', at('expecting boolean value for flag --link, not: 2'), 2],
  ['FROM x\nCOPY --link= c d', at('missing a value on flag: --link'), 2],
  ['FROM x\nENV --x a=b', at('unknown flag: --x'), 2],
  ['FROM x\nCOPY --constructor=1 a b', at('unknown flag: --constructor'), 2],
  // arguments
  [
    'FROM x\nCOPY a',
    at(
      'COPY requires at least two arguments, but only one was provided. Destination could not be determined',
    ),
    2,
  ],
  ['FROM x\nCOPY a <<EOF\nEOF', at('COPY cannot accept a heredoc as a destination'), 2],
  ['FROM x\nCOPY <<EOF /x\na', 'unterminated heredoc', 2],
  ['FROM x\nCOPY <<"a b" /x\na b', at('COPY does not use the heredoc "a b" as a source'), 2],
  ['FROM x\nENV', at('ENV requires at least one argument'), 2],
  ['FROM x\nENV a', at('ENV must have two arguments'), 2],
  ['FROM x\nENV a=b c', at(`Syntax error - can't find = in "c". Must be of the form: name=value`), 2],
  ['FROM x\nLABEL =b', at('LABEL names can not be blank'), 2],
  ['FROM x\nARG', at('ARG requires at least one argument'), 2],
  ['FROM x\nARG =b', at('ARG names can not be blank'), 2],
  ['FROM x\nUSER', at('USER requires exactly one argument'), 2],
  ['FROM x\nWORKDIR', at('WORKDIR requires exactly one argument'), 2],
  ['FROM x\nEXPOSE', at('EXPOSE requires at least one argument'), 2],
  ['FROM x\nVOLUME [""]', at('VOLUME specified can not be an empty string'), 2],
  ['FROM x\nSHELL sh -c', at('SHELL requires the arguments to be in JSON form'), 2],
  ['FROM x\nSHELL []', at('SHELL requires at least one argument'), 2],
  ['FROM x\nCMD ["a", 1]', at('when using JSON array syntax, arrays must be comprised of strings only'), 2],
  ['FROM x\nRUN --network=hots x', at('invalid network mode "hots" (did you mean host?)'), 2],
  ['FROM x\nRUN --security=none x', at('security "none" is not valid'), 2],
  ['FROM x\nHEALTHCHECK', at('HEALTHCHECK requires at least one argument'), 2],
  ['FROM x\nHEALTHCHECK curl', at('Unknown type "CURL" in HEALTHCHECK (try CMD)'), 2],
  ['FROM x\nHEALTHCHECK CMD', at('Missing command after HEALTHCHECK CMD'), 2],
  ['FROM x\nHEALTHCHECK NONE x', at('HEALTHCHECK NONE takes no arguments'), 2],
  ['FROM x\nHEALTHCHECK --interval=1 CMD x', at('time: missing unit in duration "1"'), 2],
  ['FROM x\nHEALTHCHECK --interval=1us CMD x', at('Interval "interval" cannot be less than 1ms'), 2],
  ['FROM x\nHEALTHCHECK --retries=-1 CMD x', at('--retries cannot be negative (-1)'), 2],
  ['FROM x\nONBUILD', at('ONBUILD requires at least one argument'), 2],
  ['FROM x\nONBUILD ONBUILD RUN x', at("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"), 2],
  ['FROM x\nONBUILD FROM x', at("FROM isn't allowed as an ONBUILD trigger"), 2],
  ['FROM x\nONBUILD COPY x', at('COPY requires at least two arguments'), 2],
])('%j: %s', (text, message, line) => {
  const err = failure(text);
  expect(err.message).toContain(message);
  expect(err).toMatchObject({ code: 'invalid', hop: 'dockerfile', hint: expect.any(String) });
  expect(err.source).toMatchObject({ filename: 'my/Dockerfile', text });
  expect(err.source!.ranges[0]!.start.line).toBe(line);
});

test('the range covers the whole instruction, continuations included', () => {
  expect(failure('FROM x\nCOPY \\\n  --chwn=1 \\\n  a b\nRUN x').source!.ranges).toEqual([
    { start: { line: 2, character: 0 }, end: { line: 4, character: 5 } },
  ]);
});

test('absurd sizes are refused', () => {
  expect(failure(`FROM x\nRUN ${'x'.repeat(70_000)}`).message).toBe(
    'dockerfile line greater than max allowed size of 65535',
  );
  expect(() => parseDockerfile(Buffer.alloc(17 << 20, '#'), 'Dockerfile')).toThrow('larger than 16 MiB');
});

test('time grows with the text, not faster', () => {
  const lines = 'RUN a "b $c \\\n  # x\n'.repeat(100_000);
  const blanks = `RUN ${' \t'.repeat(30_000)}<<`;
  const took = threadMs(() => {
    parseDockerfile(`FROM x\n${lines}\n y`, 'Dockerfile');
    parseDockerfile(`FROM x\n${`${blanks}\n`.repeat(20)}`, 'Dockerfile');
    parseDockerfile(`FROM x\n${`RUN ${'\r'.repeat(60_000)}x\n`.repeat(20)}`, 'Dockerfile');
  });
  expect(took).toBeLessThan(5000);
});

test.each([
  ['FROM x', "FROM isn't allowed as an ONBUILD trigger"],
  ['ONBUILD RUN x', 'Chaining ONBUILD'],
  ['RUN x\nRUN y', 'not one instruction'],
  ['', 'not one instruction'],
  ['RNU x', 'unknown instruction: RNU'],
])('the trigger %j of a base image: %s', (expression, message) => {
  expect(() => parseInstruction(expression, '\\')).toThrow(message);
});

describe('for any text', () => {
  const word = fc.constantFrom(
    ...[
      'FROM',
      'RUN',
      'COPY',
      'ADD',
      'ENV',
      'ARG',
      'ONBUILD',
      'HEALTHCHECK',
      'SHELL',
      'LABEL',
      'EXPOSE',
      'CMD',
      'as',
      'AS',
      'x',
    ],
    ...[
      '--mount=',
      '--from=',
      '--link',
      'type=cache',
      ',',
      '=',
      '--',
      '["a"',
      ']',
      '<<EOF',
      '<<-"E"',
      'EOF',
      'E',
      '"',
      "'",
      '$x',
      '${x:-',
    ],
    ...[
      '\\',
      '`',
      ' ',
      '\t',
      '\n',
      '\r\n',
      '\n\n',
      '# ',
      '# escape=`',
      '# check=skip=all',
      '\ufeff',
      '\u0085',
      '\u2028',
      'é',
      '\ud800',
      '\0',
    ],
  );
  const soup = fc.array(word, { maxLength: 40 }).map((words) => words.join(''));
  const good = [
    '# syntax=docker/dockerfile:1\nARG V=1\nFROM a:$V AS b\nRUN --mount=type=cache,target=/c <<EOF\nx\nEOF\n',
    'COPY --from=b --chmod=755 <<"A" c /d/\ny\nA\nENV a="b c" \\\n # c\n d=e\nEXPOSE 80/tcp\n',
    'HEALTHCHECK --interval=5s CMD ["x"]\nONBUILD RUN <<X\nX\nLABEL a b\nVOLUME ["/v"]\nSHELL ["s"]\n',
  ].join('');
  const mutated = fc
    .array(fc.tuple(fc.nat(good.length), fc.nat(6), fc.oneof(word, fc.string({ maxLength: 3 }))), {
      minLength: 1,
      maxLength: 4,
    })
    .map((edits) =>
      edits.reduce((text, [from, cut, put]) => text.slice(0, from) + put + text.slice(from + cut), good),
    );
  const prefixed = soup.map((text) => `FROM x\n${text}`);

  test('the parser and the checks end in a file or a typed error with ranges inside the file', () => {
    fc.assert(
      fc.property(fc.oneof(soup, prefixed, mutated, fc.string()), (text) => {
        const lines = text.split('\n').length;
        const inside = (range: { start: { line: number }; end: { line: number } }) => {
          expect(range.start.line).toBeGreaterThanOrEqual(1);
          expect(range.end.line).toBeGreaterThanOrEqual(range.start.line);
          expect(range.end.line).toBeLessThanOrEqual(lines);
        };
        try {
          const file = parseDockerfile(text, 'Dockerfile');
          for (const stage of file.stages)
            for (const base of [stage.from, ...stage.instructions]) inside(base.range);
          for (const warning of toWarnings(lintDockerfile(file), file, 'experimental=all'))
            warning.location.ranges.forEach(inside);
        } catch (err) {
          if (!(err instanceof DrydockError)) throw err;
          expect(err).toMatchObject({ code: 'invalid', hop: 'dockerfile' });
          expect(err.hint).toBeTruthy();
          err.source!.ranges.forEach(inside);
        }
      }),
      { numRuns: 5000 },
    );
  });

  test('bytes that are no text at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          parseDockerfile(Buffer.from(bytes), 'Dockerfile');
        } catch (err) {
          expect(err).toBeInstanceOf(DrydockError);
        }
      }),
    );
  });

  test('what an instruction shows as its original parses to the same again', () => {
    fc.assert(
      fc.property(mutated, (text) => {
        let file: ReturnType<typeof parseDockerfile>;
        try {
          file = parseDockerfile(text, 'Dockerfile');
        } catch {
          return;
        }
        if (file.directives.escape !== '\\') return;
        for (const instruction of file.stages.flatMap((stage) => stage.instructions)) {
          const { kind, original } = instruction;
          if (original.includes('<<') || kind === 'ONBUILD' || kind === 'MAINTAINER') continue;
          // a continuation can end right behind a joined line; alone it would go on
          if (/\\\s*$/.test(original)) continue;
          const again = parseInstruction(original, '\\', instruction.range);
          expect({ ...again, comments: 0, check: 0 }).toEqual({
            ...undescribed(instruction),
            comments: 0,
            check: 0,
          });
        }
      }),
      { numRuns: 500 },
    );
  });
});

/** ARG descriptions come from comments, which an instruction alone has not. */
function undescribed<T extends object>(instruction: T): T {
  if (!('args' in instruction)) return instruction;
  return {
    ...instruction,
    args: (instruction.args as object[]).map((arg) => ({ ...arg, description: undefined })),
  };
}
