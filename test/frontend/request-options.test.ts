/** Options of dockerfile.v0 and typed requests say the same; an option that nobody reads is known for that. */
import {
  array,
  assert,
  constantFrom,
  dictionary,
  integer,
  option,
  property,
  record,
  string,
} from 'fast-check';
import { expect, test } from 'vitest';
import { unknownOptions } from '../../src/frontend/dockerfile/known-options.ts';
import { dockerfileRequest, optionsOf } from '../../src/frontend/dockerfile/request-options.ts';

const word = string({ minLength: 1, maxLength: 8, unit: constantFrom('a', 'b', 'Z', '0', '-', '_') });
const text = string({ minLength: 1, maxLength: 10 });
const count = integer({ min: 1, max: 1_000_000 }).map(String);
const list = <T extends string>(...of: T[]) =>
  array(constantFrom(...of), { minLength: 1, maxLength: 3 }).map((items) => [...new Set(items)].join(','));
const named = (prefix: string) =>
  dictionary(word, text, { maxKeys: 3 }).map((entries) =>
    Object.fromEntries(Object.entries(entries).map(([name, value]) => [`${prefix}${name}`, value])),
  );

/** Options in the words in which a request says them. */
const plain = record(
  {
    dockerfilekey: constantFrom('dockerfile', 'elsewhere'),
    filename: word,
    contextsubdir: word,
    target: word,
    platform: list('linux/amd64', 'linux/arm64', 'linux/arm/v7'),
    'multi-platform': constantFrom('true', 'false'),
    'no-cache': list('', 'stage', 'other', '12', '"RUN echo ""a, b"""').map((stages) =>
      stages.startsWith(',') ? '' : stages,
    ),
    'image-resolve-mode': constantFrom('pull', 'never'),
    'force-network-mode': constantFrom('host', 'none'),
    'add-hosts': list('a=1.2.3.4', 'b=::1'),
    'shm-size': count,
    ulimit: list('nofile=1:2', 'nproc=-1:-1'),
    hostname: word,
    'cgroup-parent': word,
    memory: constantFrom('4096', '8192'),
    memswap: constantFrom('-1', '8192'),
    cpushares: constantFrom('2', '1024'),
    cpuperiod: constantFrom('1000', '100000'),
    cpuquota: constantFrom('1000', '50000'),
    cpusetcpus: constantFrom('0-2,4'),
    cpusetmems: constantFrom('0'),
  },
  { requiredKeys: ['dockerfilekey'] },
);
const options = record({
  plain,
  args: named('build-arg:'),
  labels: named('label:'),
  sessions: named('local-sessionid:'),
  contexts: option(named('context:'), { nil: {} }),
}).map(
  ({ plain, args, labels, sessions, contexts }): Record<string, string> => ({
    ...plain,
    ...args,
    ...labels,
    ...sessions,
    ...contexts,
  }),
);

test('a request made of options gives the same options', () => {
  assert(
    property(options, (given) => {
      // A trailing or doubled stage list is the only thing said in two ways.
      if (given['no-cache']?.split(',').includes('')) given['no-cache'] = '';
      if (given.memory === undefined && Number(given.memswap) > 0) delete given.memswap;
      expect(optionsOf(dockerfileRequest({ options: given, inputs: {} })).options).toEqual(given);
      expect(unknownOptions(given)).toEqual([]);
    }),
  );
});

test("contexts: a client's folder by another name, a URL, a tree that is handed over", () => {
  for (const given of [
    { contextkey: 'mine', dockerfilekey: 'dockerfile' },
    { context: 'https://host/app.git', dockerfilekey: 'dockerfile' },
  ] as Record<string, string>[]) {
    expect(optionsOf(dockerfileRequest({ options: given, inputs: {} })).options).toEqual(given);
  }
});

test('options that mean nothing are found out', () => {
  const asked = {
    target: 'a',
    taget: 'b',
    'build-arg:x': '1',
    'buildarg:x': '1',
    mine: 'https://x',
    contextkey: 'mine',
  };
  expect(unknownOptions(asked)).toEqual(['taget', 'buildarg:x']);
});
