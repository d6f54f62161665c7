import { isIP } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipFamily } from '../../src/words/index.ts';

test('addresses are told as by node:net', () => {
  for (const text of ['10.0.0.1', '::', '::1', 'fe80::1%eth0', '::ffff:10.0.0.1', '1:2:3:4:5:6:7::'])
    expect([text, ipFamily(text)]).toEqual([text, isIP(text)]);
  for (const text of [
    '',
    '01.2.3.4',
    '256.1.1.1',
    '1.2.3',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7:8::',
    '10.0.0.1::',
  ])
    expect([text, ipFamily(text)]).toEqual([text, 0]);
  const parts = fc.array(
    fc.constantFrom(':', '::', '.', '0', '1', '25', '255', '256', 'ab', '10.0.0.1', '%e'),
    {
      maxLength: 17,
    },
  );
  const texts = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    parts.map((list) => list.join('')),
  );
  fc.assert(
    fc.property(texts, (text) => ipFamily(text) === isIP(text)),
    { numRuns: 2000 },
  );
});
