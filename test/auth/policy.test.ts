import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { systemAccounts } from '../../src/auth/accounts.ts';
import { splitSans } from '../../src/auth/connection.ts';
import { identityKey } from '../../src/auth/identity.ts';
import { reachOf, tenantOf } from '../../src/auth/ownership.ts';
import { authorityOf, defaultPolicy } from '../../src/auth/policy.ts';
import { parsePolicy } from '../../src/auth/policy-text.ts';
import { createToken, parseTokenHash, verifies } from '../../src/auth/token-hash.ts';
import type { Identity, Listener } from '../../src/auth/types.ts';
import { DrydockError } from '../../src/errors/error.ts';
import { fitsWildcards } from '../../src/patterns/wildcards.ts';

const accounts = systemAccounts();
const unix: Listener = { kind: 'unix', gid: 999 };
const peer = (uid: number, groups: number[] = []): Identity => ({
  kind: 'peer',
  uid,
  gid: uid,
  pid: 1,
  groups,
});
const scopesOf = (policy: string, identity: Identity, listener = unix) =>
  [...authorityOf(parsePolicy(policy, 'p.json'), identity, listener, accounts).scopes].sort();

describe('without a policy file', () => {
  const policy = defaultPolicy(1000);
  const may = (identity: Identity, listener: Listener = unix) =>
    authorityOf(policy, identity, listener, accounts).scopes.size > 0;
  test('root, the daemon’s own user and the socket’s group may do everything, others nothing', () => {
    expect(may(peer(0))).toBe(true);
    expect(may(peer(1000))).toBe(true);
    expect(may(peer(1001, [999]))).toBe(true);
    expect(may(peer(1001, [998]))).toBe(false);
    expect(may({ kind: 'anonymous' }, { kind: 'tls' })).toBe(false);
    expect(may({ kind: 'cert', sans: [], fingerprint: '' }, { kind: 'tls' })).toBe(false);
  });
  test('anyone may, where a flag said that the listener is insecure', () => {
    expect(may({ kind: 'anonymous' }, { kind: 'tcp', insecure: true })).toBe(true);
    expect(may({ kind: 'anonymous' }, { kind: 'tcp', insecure: false })).toBe(false);
  });
});

describe('what is whose', () => {
  const alice: Identity = { kind: 'token', name: 'alice' };
  const of = (policy: ReturnType<typeof parsePolicy>, identity: Identity, listener = unix) =>
    authorityOf(policy, identity, listener, accounts);
  const policy = (more: object = {}) =>
    parsePolicy(JSON.stringify({ rules: [{ match: { uid: 7 }, scopes: ['*'] }], ...more }), 'p.json');

  test('without a policy file everybody reaches all builds, and builds share what they keep', () => {
    const root = of(defaultPolicy(0), peer(0));
    expect(reachOf(root)).toEqual({ owner: 'peer 0', all: true });
    expect(tenantOf(root)).toBeUndefined();
  });
  test('with one, each identity has its own, and builds:all reaches the others', () => {
    expect(reachOf(of(policy(), alice))).toEqual({ owner: 'token alice', all: false });
    expect(reachOf(of(policy(), peer(7)))).toEqual({ owner: 'peer 7', all: true });
    expect(tenantOf(of(policy(), alice))).toEqual({
      ...{ id: 'token alice', sharesCacheMounts: false, sharesResults: false },
    });
    expect(tenantOf(of(policy(), peer(7)))).toMatchObject({ sharesResults: true });
    expect(tenantOf(of(policy({ cacheMounts: 'shared' }), alice))).toMatchObject({ sharesCacheMounts: true });
    expect(() => policy({ cacheMounts: 'privat' })).toThrow(/unknown kind of cache mounts "privat".*private/);
  });
  test('an identity is known by what stays the same of it', () => {
    const cert = (fingerprint: string): Identity => ({ kind: 'cert', cn: 'ci', sans: [], fingerprint });
    const subject = (issuer: string, name: string, claims = {}): Identity => ({
      kind: 'oidc',
      issuer,
      subject: name,
      groups: [],
      claims,
    });
    const keys = [
      peer(7),
      peer(8),
      alice,
      { kind: 'token', name: 'bob' } as const,
      cert('a'),
      cert('b'),
      subject('i', 's'),
      subject('i', 't'),
      subject('j', 's'),
      { kind: 'anonymous' } as const,
    ].map(identityKey);
    expect(new Set(keys).size).toBe(keys.length);
    expect(identityKey(peer(7, [1]))).toBe(identityKey({ ...peer(7), pid: 9 } as Identity));
    expect(identityKey(subject('i', 's', { run: 1 }))).toBe(identityKey(subject('i', 's')));
  });
});

describe('rules', () => {
  test('all that match add up', () => {
    const policy = JSON.stringify({
      rules: [
        { match: { uid: 5 }, scopes: ['build'] },
        { match: { gid: 7 }, scopes: ['images:read'] },
        { match: { uid: 6 }, scopes: ['*'] },
      ],
    });
    expect(scopesOf(policy, peer(5, [7]))).toEqual(['build', 'images:read']);
    expect(scopesOf(policy, peer(8, [7]))).toEqual(['images:read']);
    expect(scopesOf(policy, peer(9))).toEqual([]);
  });
  test('all that one rule says must hold', () => {
    const policy = JSON.stringify({ rules: [{ match: { uid: 5, gid: 7 }, scopes: ['build'] }] });
    expect(scopesOf(policy, peer(5))).toEqual([]);
    expect(scopesOf(policy, peer(5, [7]))).toEqual(['build']);
  });
  test('a rule that could be for anyone by mistake is refused', () => {
    const refused = (rule: object, why: RegExp) =>
      expect(() => parsePolicy(JSON.stringify({ rules: [rule] }), 'p.json')).toThrow(why);
    refused({ match: {}, scopes: ['*'] }, /it must say for whom/);
    refused({ scopes: ['*'] }, /a rule needs "match"/);
    refused({ match: { cert: {} }, scopes: ['*'] }, /"cert" needs "cn", "san" or "fingerprint"/);
    refused({ match: { uid: 1, token: 'x' }, scopes: ['*'] }, /one kind of identity/);
    refused({ match: { uid: -1 }, scopes: ['*'] }, /whole number/);
    refused({ match: { socketGroup: false }, scopes: ['*'] }, /can only be true/);
    refused({ match: { token: 'ci' }, scopes: ['*'] }, /"tokens" lists none of the name ci/);
  });
  test('mistakes are said with line, column and the nearest word', () => {
    const bad = '{\n  "rules": [\n    {"match": {"uid": 0}, "scopes": ["biuld"]}\n  ]\n}';
    expect(() => parsePolicy(bad, 'p.json')).toThrow(
      /^p\.json:3:38: unknown scope "biuld" \(did you mean build\?\)/,
    );
    expect(() => parsePolicy('{"rules": [],}', 'p.json')).toThrow(
      /p\.json:1:14: .*a comma before it is too many/,
    );
    expect(() => parsePolicy('{"rules": [], "rules": []}', 'p.json')).toThrow(/given twice/);
    expect(() => parsePolicy('{"tokens": [{"name": "a", "hash": "ddk_secret"}]}', 'p.json')).toThrow(
      /^(?!.*ddk_secret).*not a hash/,
    );
  });
});

describe('hostile policies', () => {
  test('any text is a policy or an error of ours with a place, quickly', () => {
    const piece = fc.constantFrom(
      ...'{ } [ ] , : "rules" "match" "scopes" "uid" "cert" "cn" "tokens" "oidc" "*" 0 -1 1e999 true null \\u0000 "\\ud800"'.split(
        ' ',
      ),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((all) => all.join(' ')),
          fc.json(),
        ),
        (text) => {
          try {
            parsePolicy(text, 'p.json');
          } catch (err) {
            expect(err).toBeInstanceOf(DrydockError);
            expect((err as Error).message).toMatch(/^p\.json:\d+:\d+: /);
          }
        },
      ),
      { numRuns: 2000 },
    );
    expect(() => parsePolicy('['.repeat(1e5), 'p.json')).toThrow(/nested too deeply/);
  });
  test('a well-formed policy never gives what no rule names', () => {
    const scope = fc.constantFrom('build', 'images:read', 'cache:prune');
    const rule = fc.record({
      match: fc.record({ uid: fc.nat(5) }),
      scopes: fc.array(scope),
    });
    fc.assert(
      fc.property(fc.array(rule), fc.nat(5), (rules, uid) => {
        const expected = new Set(rules.filter((r) => r.match.uid === uid).flatMap((r) => r.scopes));
        expect(scopesOf(JSON.stringify({ rules }), peer(uid))).toEqual([...expected].sort());
      }),
    );
  });
});

describe('patterns', () => {
  test('agree with a regular expression made of the same parts', () => {
    const letters = fc.constantFrom('a', 'b', '*', '?', '/', '.');
    fc.assert(
      fc.property(fc.array(letters), fc.array(fc.constantFrom('a', 'b', '/', '.')), (pattern, text) => {
        const re = pattern.map((c) => (c === '*' ? '.*' : c === '?' ? '.' : c === '.' ? '\\.' : c)).join('');
        expect(fitsWildcards(pattern.join(''), text.join(''), '?')).toBe(
          new RegExp(`^${re}$`, 's').test(text.join('')),
        );
      }),
    );
  });
  test('alternative names with commas and quotes in them stay one name', () => {
    expect(splitSans('DNS:a, DNS:b')).toEqual(['DNS:a', 'DNS:b']);
    expect(splitSans('URI:"spiffe://x/a, DNS:evil", DNS:b')).toEqual(['URI:spiffe://x/a, DNS:evil', 'DNS:b']);
  });
});

describe('hashes', () => {
  test('hold for their token alone', async () => {
    const { token, hash } = createToken();
    const parsed = parseTokenHash(hash);
    expect(parsed && (await verifies(token, parsed))).toBe(true);
    expect(parsed && (await verifies(`${token}x`, parsed))).toBe(false);
    expect(hash).not.toContain(token.slice(4));
  });
  test('costs that would stall or not protect are no hashes', () => {
    const [salt, digest] = ['A'.repeat(22), 'B'.repeat(43)];
    expect(parseTokenHash(`scrypt:32768:8:1:${salt}:${digest}`)).toBeDefined();
    expect(parseTokenHash(`scrypt:1024:8:1:${salt}:${digest}`)).toBeUndefined();
    expect(parseTokenHash(`scrypt:16777216:8:1:${salt}:${digest}`)).toBeUndefined();
    expect(parseTokenHash('sha256:abc')).toBeUndefined();
  });
});
