import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DrydockError } from '../../../src/errors/error.ts';
import { loadGraph } from '../../../src/llb/graph.ts';
import { convert } from './fake-host.ts';

/** Words that have meant trouble somewhere: variables, quotes, escapes, parent folders, URLs, odd numbers. */
const word = fc.oneof(
  fc.constantFrom(
    ...[
      'a',
      '.',
      '..',
      '/',
      '../../etc',
      './',
      '/a/./b',
      '**',
      '[',
      '$A',
      '$',
      '"',
      "'",
      '\\',
      '<<EOF',
      '0',
      '-1',
    ],
    ...[
      'https://h/f',
      'https://h/r.git#x:y',
      'git@h:p',
      'a=b',
      '__proto__',
      'constructor=x',
      '99999999999',
      '{}',
    ],
    ...[
      '--from=s',
      '--from=0',
      '--from=9',
      '--link',
      '--parents',
      '--chmod=7',
      '--chown=:',
      '--checksum=x',
      '[]',
    ],
    ...[
      '--mount=type=cache',
      '--mount=target=x',
      '--mount=type=secret,env=__proto__',
      '--mount=from=s,target=/q',
    ],
    ...[
      '--platform=$A',
      '$' + '{A:-b}',
      '$' + '{A:?c}',
      'scratch',
      's',
      'AS',
      '["x"]',
      '80/TCP',
      '1-70000',
      '\0',
    ],
  ),
  fc.string({ maxLength: 12 }),
);
const keyword = fc.constantFrom(
  ...[
    'FROM',
    'RUN',
    'COPY',
    'ADD',
    'ARG',
    'ENV',
    'LABEL',
    'WORKDIR',
    'USER',
    'EXPOSE',
    'VOLUME',
    'CMD',
    'SHELL',
  ],
  ...[
    'ENTRYPOINT',
    'HEALTHCHECK CMD',
    'STOPSIGNAL',
    'ONBUILD COPY',
    'ONBUILD RUN',
    'FROM scratch AS s\nFROM',
  ],
);
const line = fc
  .tuple(keyword, fc.array(word, { minLength: 1, maxLength: 4 }))
  .map(([first, words]) => `${first} ${words.join(' ')}`);

it('any Dockerfile becomes a graph that loads, or a clear error', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 6 }), async (lines) => {
      const dockerfile = `FROM alpine:3 AS s\n${lines.join('\n')}\n`;
      try {
        const { targets } = await convert(dockerfile, { buildArgs: { A: 'x' } });
        for (const { definition, config } of targets) {
          loadGraph(definition);
          JSON.stringify(config);
        }
      } catch (err) {
        expect(err, dockerfile).toBeInstanceOf(DrydockError);
        if (err instanceof DrydockError)
          expect(err.code, `${err.message}\n${dockerfile}\n${err.stack}`).not.toBe('internal');
      }
    }),
    { numRuns: Number(process.env.FUZZ_RUNS ?? 1500) },
  );
});
