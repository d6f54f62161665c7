/**
 * Patterns made to try out every way of matching, and expressions of the kind that backtracking takes for ever over:
 * all are answered in time linear in pattern and text, wherever a client may write one.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { recordFilter } from '../../src/api/buildkit/history/filter.ts';
import { expandWord } from '../../src/frontend/dockerfile/expand/expand.ts';
import { apply } from '../../src/fs/apply.ts';
import { checksum } from '../../src/fs/checksum.ts';
import { exportTree } from '../../src/fs/export.ts';
import { IgnoreMatcher } from '../../src/fs/ignore.ts';
import { referenceMatches } from '../../src/images/filter.ts';
import { loadGraphInTurns } from '../../src/llb/graph.ts';
import { image as llbImage, marshal, merge, scratch } from '../../src/llb/llb.ts';
import { sourceRewrite } from '../../src/llb/source-policy.ts';
import { readFilters } from '../../src/patterns/filter.ts';
import { compileGlob } from '../../src/patterns/glob.ts';
import { fitsWildcards } from '../../src/patterns/wildcards.ts';
import { BuildHistoryRecordSchema } from '../../src/pb/moby/buildkit/v1/control_pb.js';
import {
  MatchType,
  PolicyAction,
  PolicySchema,
} from '../../src/pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import { SourceOpSchema } from '../../src/pb/solver/pb/ops_pb.js';

/** Runs something that takes a few milliseconds, in at most two seconds. */
function soon<T>(what: () => T): T {
  const started = process.cpuUsage();
  const result = what();
  const { user, system } = process.cpuUsage(started);
  expect((user + system) / 1000).toBeLessThan(2000);
  return result;
}

const name = 'a'.repeat(255);
const path = Array.from({ length: 16 }, () => name).join('/');
const stars = (count: number) => `${'*a'.repeat(count)}*b`;

describe('globs', () => {
  test.each([12, 40, 400, 4000])('%i stars', (count) => {
    const pattern = stars(count);
    soon(() => {
      expect(compileGlob(pattern)(name)).toBe(false);
      expect(compileGlob(`${pattern}*`)(name)).toBe(false);
      const ignore = new IgnoreMatcher([
        pattern,
        `**/${pattern}`,
        `**/${'*a**/'.repeat(Math.min(count, 2000))}b`,
      ]);
      expect(ignore.matches(path)).toBe(false);
      expect(ignore.canDifferBelow(path, ignore.match(path))).toBe(true);
    });
  });

  test('the longest that are taken', () => {
    for (const pattern of ['*?', '**/', '[^/]*', '*a**/', '?**']) {
      const long = `${pattern.repeat(Math.floor(16_000 / pattern.length))}b`;
      soon(() => expect(new IgnoreMatcher([long]).match(path).matched).toBe(false));
    }
  });

  test('any pattern and any path', () => {
    const part = fc.constantFrom('*', '**', '**/', '?', '[^/]', 'a', 'a/', '*a', '\\a', '/');
    const pattern = fc
      .tuple(fc.array(part, { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 200 }))
      .map(([parts, times]) => parts.join('').repeat(times));
    fc.assert(
      fc.property(pattern, fc.constantFrom(path, name, '/'.repeat(4000), 'a/'.repeat(2000)), (glob, text) => {
        soon(() => {
          compileGlob(glob)(text);
          new IgnoreMatcher([glob]).match(text);
          fitsWildcards(glob, text, '?');
        });
      }),
      { numRuns: 25 },
    );
  });

  test('a cancel stops a thread that holds files against patterns that select none of them', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'drydock-patterns-'));
    for (let i = 0; i < 200; i++) writeFileSync(join(dir, `file${i}`), '');
    let asked = 0;
    const ctx = { aborted: () => ++asked > 50 };
    const spec = { kind: 'folder', dir, rootOwned: true } as const;
    expect(() =>
      checksum({ spec: { ...spec, includes: ['**/none'] }, selectors: [{ path: '/' }], statDb: '' }, ctx),
    ).toThrow(expect.objectContaining({ code: 'canceled' }));
    expect(asked).toBe(51);
    asked = 0;
    expect(() =>
      exportTree({ spec: { ...spec, includes: ['**/none'] }, dest: join(dir, 'out') }, ctx),
    ).toThrow(expect.objectContaining({ code: 'canceled' }));
    asked = 0;
    const rm = { kind: 'rm', path: '/none*', allowWildcard: true, allowNotFound: true } as const;
    await expect(
      apply({ target: { kind: 'layers', dirs: [dir] }, actions: [rm] }, ctx),
    ).rejects.toMatchObject({
      code: 'canceled',
    });
    rmSync(dir, { recursive: true });
  });

  test('of image lists and policies', () => {
    soon(() => {
      expect(referenceMatches(`${'*a'.repeat(40)}*b`)(`docker.io/library/${'a'.repeat(120)}:c`)).toBe(false);
      expect(fitsWildcards(stars(4000), 'a'.repeat(100_000))).toBe(false);
    });
  });
});

describe('regular expressions', () => {
  const evil = ['^(a+)+$', '(a|aa)+$', '(.*a){20}b', '(a*)*b', '([a-z]+)*!', '^(?:a?){50}a{50}b'];

  test('of filters', () => {
    soon(() => {
      for (const pattern of evil) {
        const filter = readFilters([`description~="${pattern}"`]);
        expect(filter({ description: `${'a'.repeat(1000)}-` })).toBe(false);
      }
      const filter = recordFilter(['ref~=^(a+)+$']);
      expect(filter(create(BuildHistoryRecordSchema, { Ref: `${'a'.repeat(5000)}-` }))).toBe(false);
    });
  });

  test('of filters on a text too long for them are refused', () => {
    soon(() => {
      const filter = readFilters(['description~=(a{1000}){10}b']);
      expect(() => filter({ description: 'a'.repeat(1 << 20) })).toThrow(
        expect.objectContaining({ code: 'exhausted' }),
      );
    });
  });

  test('filters without number are refused', () => {
    expect(() => readFilters(new Array(100_000).fill('type==regular'))).toThrow(/filters are longer than/);
  });

  test('of source policies', () => {
    const identifier = `docker-image://docker.io/${'a'.repeat(1000)}-`;
    const wildcards = ['*a'.repeat(40), 'docker-image://*a*a*a*a*a*a*a*a*a*a*a*ab'];
    const selectors = [
      ...evil.map((pattern) => ({ identifier: pattern, matchType: MatchType.REGEX })),
      ...wildcards.map((pattern) => ({ identifier: `${pattern}!`, matchType: MatchType.WILDCARD })),
    ];
    const rules = selectors.map((selector) => ({ action: PolicyAction.DENY, selector }));
    const rewrite = sourceRewrite([create(PolicySchema, { rules })])!;
    const source = create(SourceOpSchema, { identifier });
    expect(soon(() => rewrite(source))).toBe(source);
  });

  test('of source policies that are too many for a name end the build', () => {
    const rule = {
      action: PolicyAction.DENY,
      selector: { identifier: '(.*a){99}b', matchType: MatchType.REGEX },
    };
    const rewrite = sourceRewrite([create(PolicySchema, { rules: new Array(40).fill(rule) })])!;
    const source = create(SourceOpSchema, { identifier: 'a'.repeat(5000) });
    soon(() => expect(() => rewrite(source)).toThrow(expect.objectContaining({ code: 'exhausted' })));
  });
});

describe('rules of source policies without number', () => {
  const rule = (identifier: string) => ({
    action: PolicyAction.DENY,
    selector: { identifier, matchType: MatchType.REGEX },
  });

  test.each([
    ['rules', new Array(100_000).fill(rule('a'))],
    ['steps', new Array(5000).fill(rule('(.*a){99}b'))],
  ])('too many %s are refused', (_, rules) => {
    const policy = create(PolicySchema, { rules });
    soon(() => expect(() => sourceRewrite([policy])).toThrow(/source policies (have|are)/));
  });
});

describe('many rules and many sources', () => {
  const rewriteBy = (count: number, identifier: (i: number) => string, matchType: MatchType) => {
    const rules = Array.from({ length: count }, (_, i) => ({
      action: PolicyAction.DENY,
      selector: { identifier: identifier(i), matchType },
    }));
    return sourceRewrite([create(PolicySchema, { rules })])!;
  };
  const image = (i: number) =>
    create(SourceOpSchema, {
      identifier: `docker-image://docker.io/library/other${i}@sha256:${'0'.repeat(64)}`,
    });

  test.each([
    ['exact', (i: number) => `docker-image://docker.io/library/name${i}`, MatchType.EXACT],
    ['anchored', (i: number) => `^docker-image://docker\\.io/library/name${i}:.*$`, MatchType.REGEX],
    ['floating', (i: number) => `library/name${i}:`, MatchType.REGEX],
    ['star', (i: number) => `docker-image://x${i}*`, MatchType.WILDCARD],
  ])('1,000 %s rules are held against 1,000 images', (_, identifier, matchType) => {
    const rewrite = rewriteBy(1000, identifier, matchType);
    soon(() => {
      for (let i = 0; i < 1000; i++) expect(rewrite(image(i)).identifier).toContain(`other${i}`);
    });
  });

  const slow = (i: number) => `docker-image://${'*a'.repeat(20)}${i}`;

  test('what would take minutes in all is refused, and not because of one source named often', () => {
    const rewrite = rewriteBy(10, slow, MatchType.WILDCARD);
    soon(() => {
      for (let i = 0; i < 100_000; i++) rewrite(image(0));
    });
    expect(() => {
      for (let i = 0; i < 50_000; i++) rewrite(image(i));
    }).toThrow(/take too long for so many sources/);
  });

  test('a build that is cancelled stops', async () => {
    const rewrite = rewriteBy(10, slow, MatchType.WILDCARD);
    const images = Array.from({ length: 1000 }, (_, i) =>
      scratch().copy(llbImage(`other${i}`), '/', `/${i}`),
    );
    const definition = marshal(merge(images));
    const stop = new AbortController();
    let held = 0;
    const counting = (source: Parameters<typeof rewrite>[0]) => {
      if (++held === 10) stop.abort();
      return rewrite(source);
    };
    const loading = loadGraphInTurns(definition, { rewrite: counting, signal: stop.signal });
    await expect(loading).rejects.toMatchObject({ code: 'canceled' });
    expect(held).toBeLessThan(1000);
  });
});

describe('variables of a Dockerfile', () => {
  const value = 'a'.repeat(5000);
  test.each(['#', '##', '%', '%%', '/', '//'])('x%s*a*a…', (operator) => {
    const pattern = `${'*a'.repeat(300)}*b`;
    const word = `\${x${operator}${pattern}${operator.startsWith('/') ? '/c' : ''}}`;
    expect(soon(() => expandWord(word, () => value, { escape: '\\' }).value)).toBe(value);
  });
});
