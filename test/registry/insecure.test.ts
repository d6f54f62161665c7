/** `--insecure-registry`: hosts and networks, as dockerd takes them. */
import { expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/client.ts';
import { InsecureHosts, parseInsecure } from '../../src/registry/insecure.ts';

test('hosts are taken by name and port; a scheme before them says nothing', async () => {
  const hosts = new InsecureHosts(['reg.example:5000', 'http://plain.example', '[::2]:5000']);
  for (const host of ['reg.example:5000', 'plain.example', '[::2]:5000'])
    expect(await hosts.has(host)).toBe(true);
  for (const host of ['reg.example', 'plain.example:5000', '[::2]'])
    expect(await hosts.has(host)).toBe(false);
});

test('networks are matched by addresses, and names by the addresses that they have', async () => {
  const hosts = new InsecureHosts(['192.168.1.0/24', 'fd00::/8', '127.0.0.0/8']);
  for (const host of ['192.168.1.7:5000', '192.168.1.255', '[fd00::1]:5000', 'localhost:5000']) {
    expect(await hosts.has(host), host).toBe(true);
  }
  for (const host of ['192.168.2.7:5000', '[fe00::1]', 'nowhere.invalid:5000']) {
    expect(await hosts.has(host), host).toBe(false);
  }
});

test('Docker Hub is in no network, wherever its name leads to', async () => {
  expect(await new InsecureHosts(['0.0.0.0/0', '::/0']).has('registry-1.docker.io')).toBe(false);
});

test.each(['reg.example/team', '192.168.1.0/33', 'a b', '', '*.example'])(
  '%j would match nothing and is refused',
  (name) => {
    expect(() => parseInsecure([name])).toThrowError(/is no host/);
    expect(() => new RegistryClient({ userAgent: 't', insecure: [name] })).toThrowError(
      expect.objectContaining({ code: 'invalid', hint: expect.stringContaining('192.168.1.0/24') }),
    );
  },
);
