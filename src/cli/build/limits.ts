/** `--resource` and docker build's flags of the same names: the limits of RUN steps on the machine's resources. */
import { fail, nearest } from '../../errors/index.ts';
import { type LimitOption, parseLimits, type StepLimits } from '../../llb/index.ts';
import type { FlagValues } from '../flags.ts';
import { parseBytes } from '../units.ts';
import type { buildFlags } from './flags.ts';

/** The flags' names of the limits, and the build's names. */
const names = {
  memory: 'memory',
  'memory-swap': 'memswap',
  'cpu-shares': 'cpushares',
  'cpu-period': 'cpuperiod',
  'cpu-quota': 'cpuquota',
  'cpuset-cpus': 'cpusetcpus',
  'cpuset-mems': 'cpusetmems',
} as const satisfies Record<string, LimitOption>;

type Name = keyof typeof names;

/** Reads the limits that flags set; `--resource` wins over docker build's own flags. Throws `invalid`. */
export function stepLimits(flags: FlagValues<typeof buildFlags>): StepLimits | undefined {
  const texts = new Map<LimitOption, string>();
  const set = (name: Name, value: string) => {
    const isSize = name === 'memory' || (name === 'memory-swap' && value !== '-1');
    texts.set(names[name], isSize ? String(parseBytes(value, name)) : value);
  };
  for (const name of Object.keys(names) as Name[]) {
    const value = flags[name];
    // docker build's flags say 0 for nothing; of processors it is the first one.
    const isNothing = value === '' || (value === '0' && !name.startsWith('cpuset-'));
    if (value !== undefined && !isNothing) set(name, value);
  }
  for (const item of flags.resource) {
    const [key = '', value] = item.split(/=(.*)/s, 2);
    if (!Object.hasOwn(names, key) || value === undefined || value === '') {
      const like = nearest(key, Object.keys(names));
      throw fail('invalid', 'client', `invalid --resource ${JSON.stringify(item)}: want KEY=VALUE`, {
        hint: `Keys: ${Object.keys(names).join(', ')}.${like === undefined || like === key ? '' : ` Did you mean ${like}?`}`,
      });
    }
    set(key as Name, value);
  }
  return parseLimits((option) => texts.get(option));
}
