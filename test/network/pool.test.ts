/** When the networks of steps are made, and for how many steps one serves. */
import { expect, test } from 'vitest';
import { Pool } from '../../src/network/pool.ts';
import type { Ready } from '../../src/network/provider.ts';
import { traceIn, useBetween } from '../../src/network/trace.ts';

function counted(options: { most?: number; lasts?: boolean; announced?: number } = {}) {
  const counts = { made: 0, gone: 0, announced: options.announced ?? 0 };
  const prepare = async (): Promise<Ready> => {
    counts.made++;
    return {
      fd: counts.made,
      hostAddress: '10.0.0.1',
      dns: { udp: -1, tcp: -1 },
      counters: [],
      hasV6: false,
      resolver: { text: '', forwardTo: undefined, close() {} },
      dispose: () => void counts.gone++,
    };
  };
  const { most = 16, lasts = false } = options;
  return { counts, pool: new Pool(prepare, { most, lasts, announced: () => counts.announced }) };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('steps that use no network have one namespace, one after the other', async () => {
  const { counts, pool } = counted({ announced: 10 });
  await pool.begin();
  for (let step = 0; step < 10; step++) {
    counts.announced--;
    const { give } = await pool.take();
    await settled();
    give(true);
  }
  // While one is in use, another one waits.
  expect(counts).toEqual({ made: 2, gone: 2, announced: 0 });
});

test('a namespace that a step may have changed, or that is not surely empty, serves nobody else', async () => {
  const { counts, pool } = counted({ most: 0, lasts: true });
  const first = await pool.take();
  first.give(false);
  first.give(true);
  expect(counts).toMatchObject({ made: 1, gone: 1 });
});

test('a command makes no more namespaces than it has steps', async () => {
  const { counts, pool } = counted({ announced: 20 });
  await pool.begin();
  const taken = [];
  for (let step = 0; step < 20; step++) {
    counts.announced--;
    taken.push(await pool.take());
    await settled();
  }
  expect(counts.made).toBe(20);
  for (const { give } of taken) give(true);
  expect(counts.gone).toBe(20);
  await pool.close();
});

test('a daemon keeps as many ready as were in use at once, and at most so many', async () => {
  const { counts, pool } = counted({ most: 3, lasts: true });
  const taken = [];
  for (let step = 0; step < 5; step++) taken.push(await pool.take());
  await settled();
  for (const { give } of taken) give(true);
  expect(counts.made - counts.gone).toBe(3);
  await pool.close();
  expect(counts.made - counts.gone).toBe(0);
});

const dev = (lo: number, eth0: number) => `Inter-|   Receive                  |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 0 0 0 0 0 0 0 0 ${lo * 60} ${lo} 0 0 0 0 0 0
  eth0: 90 1 0 0 0 0 0 0 ${eth0 * 60} ${eth0} 0 0 0 0 0 0
`;
const sockets = (used: number, waiting: number) =>
  `sockets: used ${used}\nTCP: inuse 0 orphan 0 tw ${waiting} alloc 28 mem 0\n`;

test('a packet, a socket or a waiting connection is a trace of a step', () => {
  const before = traceIn(dev(0, 0) + sockets(2, 0));
  const use = (text: string) => useBetween(before, traceIn(text));
  expect(use(dev(0, 0) + sockets(2, 0))).toBe('unused');
  expect(use(dev(2, 0) + sockets(2, 0))).toBe('used');
  expect(use(dev(0, 2) + sockets(2, 0))).toBe('used');
  expect(use(dev(0, 0) + sockets(3, 0))).toBe('used');
  expect(use(dev(0, 0) + sockets(2, 1))).toBe('used');
  // A tunnel counts a packet later than IP does.
  const asked = (count: number) => `Ip: Forwarding DefaultTTL OutRequests\nIp: 1 64 ${count}\n`;
  expect(use(dev(0, 0) + sockets(2, 0) + asked(0))).toBe('unused');
  expect(use(dev(0, 0) + sockets(2, 0) + asked(2))).toBe('used');
  expect(use(`${dev(0, 0) + sockets(2, 0)}Ip6OutRequests   \t2\n`)).toBe('used');
  // The kernel itself tells routers which groups it listens to.
  const groups = 'Ip6OutRequests   \t3\nIcmp6OutMLDv2Reports             \t3\n';
  expect(use(dev(0, 3) + sockets(2, 0) + groups)).toBe('unused');
});

test('a single packet may be the kernel’s own, which it has not counted as such yet', () => {
  const look = (packets: number, reports: number) =>
    traceIn(`${dev(0, packets) + sockets(2, 0)}Ip6OutRequests ${packets}\nIcmp6OutMLDv2Reports ${reports}\n`);
  expect(useBetween(look(0, 0), look(1, 0))).toBe('unsure');
  expect(useBetween(look(1, 0), look(1, 1))).toBe('unused');
});
