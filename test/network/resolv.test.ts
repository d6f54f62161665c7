import { expect, test } from 'vitest';
import { parseSubnet } from '../../src/network/addresses.ts';
import { createNetwork } from '../../src/network/index.ts';
import { resolvingFor, settledResolv } from '../../src/network/resolv.ts';

const host =
  'search corp.example lab.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions ndots:2\n';

test('a step asks the host’s nameservers itself where it can reach them', () => {
  expect(resolvingFor(host, [])).toEqual({ text: host, forwardTo: undefined });
});

test.each(['127.0.0.53', '127.0.0.1', '::1', '169.254.169.253', 'fe80::1%eth0'])(
  'a nameserver at %s is asked for it; search domains and options are kept',
  (server) => {
    const { text, forwardTo } = resolvingFor(host.replace('192.0.2.54', server), []);
    expect(text).toBe('nameserver 127.0.0.11\nsearch corp.example lab.example\noptions ndots:2\n');
    expect(forwardTo).toEqual(['192.0.2.53', server]);
  },
);

test('so are those in networks that steps must not reach, and those of IPv6 where steps have none', () => {
  expect(resolvingFor(host, [parseSubnet('192.0.2.0/24', 'x')]).forwardTo).toHaveLength(2);
  expect(resolvingFor('nameserver 2001:db8::53\n', [parseSubnet('::/0', 'x')]).forwardTo).toEqual([
    '2001:db8::53',
  ]);
});

test('a host without nameservers asks its own loopback', () => {
  expect(resolvingFor('', [])).toEqual({ text: 'nameserver 127.0.0.11\n', forwardTo: ['127.0.0.1'] });
});

test('an operator’s settings take the place of the host’s, each by itself', () => {
  expect(settledResolv(host, { nameservers: ['198.51.100.1'] })).toBe(
    'nameserver 198.51.100.1\nsearch corp.example lab.example\noptions ndots:2\n',
  );
  expect(settledResolv(host, { searchDomains: ['a.example'], options: ['ndots:5'] })).toBe(
    'search a.example\noptions ndots:5\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n',
  );
  expect(settledResolv(host, {})).toBe(host);
});

test('settings that would write other lines than their own are refused before a step runs', () => {
  const open = (dns: object) => () => createNetwork('/nowhere', { dns });
  expect(open({ nameservers: ['198.51.100.1\nnameserver 203.0.113.1'] })).toThrow('is no address');
  expect(open({ nameservers: ['resolver.example'] })).toThrow('"resolver.example" is no address');
  expect(open({ searchDomains: ['a.example\nb'] })).toThrow('is no search domain');
  expect(open({ options: ['ndots:1 rotate'] })).toThrow('is no resolver option');
  expect(open({ options: [''] })).toThrow('"" is no resolver option');
  open({ nameservers: ['2001:db8::1', 'fe80::1%eth0', '198.51.100.1'], options: ['ndots:5'] })();
});
