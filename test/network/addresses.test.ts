import { describe, expect, test } from 'vitest';
import {
  bytesOfAddress,
  isIn,
  nthAddress,
  overlap,
  parseSubnet,
  subnetText,
} from '../../src/network/addresses.ts';
import { freeSubnet, routesIn } from '../../src/network/uplinks.ts';

const net = (text: string) => parseSubnet(text, 'network-subnet');

describe('subnets', () => {
  test.each(['10.0.0.0/8', '10.213.32.0/20', 'fd00:0:0:0:0:0:0:0/8', '0.0.0.0/0'])('%s is read', (text) => {
    expect(subnetText(net(text))).toBe(text);
  });
  test('an address alone is a network of one, and bits of hosts do not count', () => {
    expect(subnetText(net('192.0.2.7'))).toBe('192.0.2.7/32');
    expect(subnetText(net('10.1.2.3/8'))).toBe('10.0.0.0/8');
  });
  test.each(['10.0.0.0/33', '10.0.0/8', 'fd00::/129', '10.0.0.0/', '10.0.0.0/8/9', 'here'])(
    '%s is refused by the setting’s name',
    (text) => {
      expect(() => net(text)).toThrow(/network-subnet: .* is no network/);
    },
  );
  test('their addresses are counted from the first one', () => {
    expect(nthAddress(net('10.213.32.0/20'), 257)).toBe('10.213.33.1');
    expect(nthAddress(net('fd5c:1::/64'), 0x1f)).toBe('fd5c:1:0:0:0:0:0:1f');
  });
  test('overlaps', () => {
    expect(overlap(net('10.0.0.0/8'), net('10.213.32.0/20'))).toBe(true);
    expect(overlap(net('10.213.48.0/20'), net('10.213.32.0/20'))).toBe(false);
    expect(overlap(net('::/0'), net('0.0.0.0/0'))).toBe(false);
    expect(isIn('::ffff:169.254.169.254', net('169.254.0.0/16'))).toBe(true);
    expect(isIn('fe80::1%eth0', net('fe80::/10'))).toBe(true);
    expect(isIn('no address', net('::/0'))).toBe(false);
  });
});

test.each([
  ['::1', '00000000000000000000000000000001'],
  ['fd00:1::2:3', 'fd000001000000000000000000020003'],
  ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
  ['192.0.2.1', 'c0000201'],
])('the bytes of %s', (address, hex) => {
  expect(bytesOfAddress(address).toString('hex')).toBe(hex);
});

test('routes are read from the kernel’s lists, and ours are none of them', () => {
  const v4 = [
    'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
    'eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0',
    'eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    'drydabcds2\t0220D50A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0',
  ].join('\n');
  const v6 = [
    'fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0',
    '00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0',
    '00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo',
  ].join('\n');
  const { taken, uplinks } = routesIn(v4, v6);
  expect(taken.map(subnetText)).toEqual(['192.0.2.0/24', 'fd00:0:0:0:0:0:0:0/64']);
  expect(uplinks).toEqual([
    { family: 4, name: 'eth0' },
    { family: 6, name: 'eth0' },
  ]);
});

test('steps get a network that no route leads to; a wide route is in the way only where all are taken', () => {
  expect(subnetText(freeSubnet(4, []) as never)).toBe('10.213.32.0/20');
  expect(subnetText(freeSubnet(4, [net('10.0.0.0/8')]) as never)).toBe('172.29.208.0/20');
  const all = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'].map(net);
  expect(subnetText(freeSubnet(4, all) as never)).toBe('10.213.32.0/20');
  expect(subnetText(freeSubnet(4, [...all, net('10.213.32.0/20')]) as never)).toBe('10.67.144.0/20');
});
