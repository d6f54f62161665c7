import { fail } from '../../errors/index.ts';
import type { BuildFlags } from '../build/prepare.ts';
import type { DebugInspector, Screen } from './inspector.ts';

/**
 * The inspector that `--on-error` and `--invoke` ask for; undefined without them. Throws `invalid` and `unsupported`
 * for flags that it cannot go with.
 */
export async function openInspector(
  flags: Pick<BuildFlags, 'on-error' | 'invoke' | 'check' | 'verify-reproducible' | 'offline' | 'file'>,
  context: string,
  isRemote: boolean,
  screen: Screen,
): Promise<DebugInspector | undefined> {
  if (flags['on-error'].length === 0 && flags.invoke === undefined) return undefined;
  // Loaded only when asked for: few builds are looked into.
  const [{ debugWishes }, { DebugInspector }] = await Promise.all([
    import('./wishes.ts'),
    import('./inspector.ts'),
  ]);
  const wishes = debugWishes(flags['on-error'], flags.invoke);
  if (wishes === undefined) return undefined;
  if (flags.check) throw refused('--check', 'build checks run no step');
  if (flags['verify-reproducible']) throw refused('--verify-reproducible', 'it builds three times');
  if (flags.offline && isRemote) {
    throw refused('--offline', 'a daemon takes --offline only for builds that it directs itself');
  }
  const runs = wishes.shell || wishes.invoke !== undefined;
  if (runs && (context === '-' || flags.file === '-')) {
    throw refused('- as the context or Dockerfile', 'stdin is what is typed into the shell');
  }
  return new DebugInspector(wishes, screen);
}

function refused(flag: string, why: string): Error {
  return fail('unsupported', 'client', `--on-error and --invoke do not go with ${flag}: ${why}`, {
    hint: 'Leave one of them out.',
  });
}
