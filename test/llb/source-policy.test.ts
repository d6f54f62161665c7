/** Source policies: rules that allow, deny and convert what builds are made of. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { loadGraph } from '../../src/llb/graph.ts';
import { copy, http, image, marshal } from '../../src/llb/llb.ts';
import { sourceRewrite } from '../../src/llb/source-policy.ts';
import {
  AttrMatch,
  MatchType,
  PolicyAction,
  PolicySchema,
  type RuleSchema,
} from '../../src/pb/moby/buildkit/v1/sourcepolicy/policy_pb.js';
import { type SourceOp, SourceOpSchema } from '../../src/pb/solver/pb/ops_pb.js';

const { ALLOW, DENY, CONVERT } = PolicyAction;
type Rule = MessageInitShape<typeof RuleSchema>;
const rule = (action: PolicyAction, identifier: string, updates?: Rule['updates'], matchType?: MatchType) =>
  ({ action, selector: { identifier, matchType }, updates }) satisfies Rule;
const policy = (...rules: Rule[]) => create(PolicySchema, { version: 1n, rules });
const source = (identifier: string, attrs: Record<string, string> = {}): SourceOp =>
  create(SourceOpSchema, { identifier, attrs });
const rewritten = (rules: Rule[], identifier: string, attrs?: Record<string, string>) => {
  const { identifier: name, attrs: now } = sourceRewrite([policy(...rules)])!(source(identifier, attrs));
  return [name, now];
};

const alpine = 'docker-image://docker.io/library/alpine:3.17';

describe('allow and deny', () => {
  test('the last rule that matches decides; what no rule matches is allowed', () => {
    const all = rule(DENY, 'docker-image://*');
    const one = rule(ALLOW, 'docker-image://docker.io/library/*');
    expect(() => rewritten([all], alpine)).toThrow(`source "${alpine}" denied by policy`);
    expect(() => rewritten([one, all], alpine)).toThrow('source denied by policy');
    expect(rewritten([all, one], alpine)).toEqual([alpine, {}]);
    expect(rewritten([all], 'local://context')).toEqual(['local://context', {}]);
  });

  test('each policy has its say', () => {
    const rewrite = sourceRewrite([policy(rule(ALLOW, alpine)), policy(rule(DENY, alpine))])!;
    expect(() => rewrite(source(alpine))).toThrow('denied by policy');
  });

  test('selectors: the very name, a wildcard, an expression, attributes', () => {
    const denied = (matchType: MatchType, identifier: string, constraints: object[] = []) => {
      const selector = { identifier, matchType, constraints };
      const rewrite = sourceRewrite([policy({ action: DENY, selector })])!;
      try {
        rewrite(source('https://example.com/a+b.tar', { 'http.checksum': 'sha256:1' }));
        return false;
      } catch {
        return true;
      }
    };
    expect(denied(MatchType.EXACT, 'https://example.com/*')).toBe(false);
    expect(denied(MatchType.EXACT, 'https://example.com/a+b.tar')).toBe(true);
    expect(denied(MatchType.WILDCARD, 'https://*/a+b.tar')).toBe(true);
    expect(denied(MatchType.WILDCARD, 'https://*/a.b.tar')).toBe(false);
    expect(denied(MatchType.REGEX, '(?i)EXAMPLE\\.com/[a-z]')).toBe(true);
    const where = (key: string, value: string, condition: AttrMatch) =>
      denied(MatchType.WILDCARD, '*', [{ key, value, condition }]);
    expect(where('http.checksum', 'sha256:1', AttrMatch.EQUAL)).toBe(true);
    expect(where('http.checksum', 'sha256:1', AttrMatch.NOTEQUAL)).toBe(false);
    expect(where('http.uid', '0', AttrMatch.NOTEQUAL)).toBe(true);
    expect(where('http.checksum', '^sha(256|512):', AttrMatch.MATCHES)).toBe(true);
  });
});

describe('convert', () => {
  test('another name, attributes added', () => {
    const pinned = `${alpine}@sha256:${'a'.repeat(64)}`;
    expect(rewritten([rule(CONVERT, alpine, { identifier: pinned })], alpine)).toEqual([pinned, {}]);
    const url = 'https://example.com/file';
    expect(
      rewritten([rule(CONVERT, url, { attrs: { 'http.checksum': 'sha256:1' } })], url, { a: 'b' }),
    ).toEqual([url, { a: 'b', 'http.checksum': 'sha256:1' }]);
  });

  test('what a pattern matched goes into the new name', () => {
    const wildcard = rule(CONVERT, 'docker-image://docker.io/*', {
      identifier: 'docker-image://mirror/hub/$1',
    });
    expect(rewritten([wildcard], alpine)[0]).toBe('docker-image://mirror/hub/library/alpine:3.17');
    const named = rule(
      CONVERT,
      '^docker-image://(?P<host>[^/]+)/(.*)$',
      { identifier: `docker-image://mirror/\${host}/$2` },
      MatchType.REGEX,
    );
    const once = rule(ALLOW, 'docker-image://mirror/*');
    expect(() => rewritten([named, once], alpine)).toThrow('converts it without end');
    const hub = {
      ...named,
      selector: { ...named.selector, identifier: '^docker-image://(?P<host>docker\\.io)/(.*)$' },
    };
    expect(rewritten([hub], alpine)[0]).toBe('docker-image://mirror/docker.io/library/alpine:3.17');
  });

  test('rules are asked again about what a conversion gave', () => {
    const old = rule(CONVERT, alpine, { identifier: 'docker-image://docker.io/library/alpine:3.18' });
    const deny = rule(DENY, '*alpine:3.18');
    expect(() => rewritten([old, deny], alpine)).toThrow('alpine:3.18" denied by policy');
  });
});

test.each([
  [{ action: DENY }, 'invalid nil selector in policy'],
  [rule(CONVERT, 'a'), 'missing destination'],
  [rule(DENY, 'a**b'), 'invalid wildcard'],
  [rule(DENY, '(', undefined, MatchType.REGEX), "the source policy's pattern"],
  [rule(9 as PolicyAction, 'a'), 'unknown type'],
])('%j is refused', (bad, message) => {
  expect(() => sourceRewrite([policy(bad)])).toThrow(message);
});

test('no rules, no rewriting', () => {
  expect(sourceRewrite([])).toBeUndefined();
  expect(sourceRewrite([policy()])).toBeUndefined();
});

test('a graph is loaded with the sources it is given; what is built on them has other digests', () => {
  const other = image('docker.io/library/busybox:1');
  const definition = (base: typeof other) =>
    marshal(base.file(copy(http('https://example.com/file'), '/file', '/file')));
  const busybox = definition(other);
  const rewrite = sourceRewrite([
    policy(rule(CONVERT, '*library/alpine:1', { identifier: 'docker-image://docker.io/library/busybox:1' })),
  ]);
  const graph = loadGraph(definition(image('docker.io/library/alpine:1')), rewrite);
  expect(graph.output?.vertex.digest).toBe(loadGraph(busybox).output?.vertex.digest);
  expect(graph.vertices.map(({ digest }) => digest).sort()).toEqual(
    loadGraph(busybox)
      .vertices.map(({ digest }) => digest)
      .sort(),
  );
});

test('sources that become the same one are one, and so is what is built on them', () => {
  const on = (name: string) => image(name).run('make').root();
  const graph = marshal(on('a').file(copy(on('b'), '/', '/')));
  const convert = (name: string) =>
    rule(CONVERT, `docker-image://docker.io/library/${name}:latest`, { identifier: alpine });
  const { vertices, output } = loadGraph(graph, sourceRewrite([policy(convert('a'), convert('b'))]));
  expect(vertices).toHaveLength(3);
  const [first, second] = output!.vertex.inputs;
  expect(first!.vertex).toBe(second!.vertex);
});
