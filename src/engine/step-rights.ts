/** What an operator lets steps have of the machine, and what confines them, read from text. Pure. */
import type { CdiOptions } from '../cdi/index.ts';
import { fail } from '../errors/index.ts';
import { parseBool } from '../words/index.ts';

/** The rights of every step of an engine. */
export interface OperatorRights {
  /** The devices that steps can have. */
  cdi?: CdiOptions;
  /** The name of a loaded AppArmor profile that confines steps. */
  apparmorProfile?: string;
  /** Gives each step SELinux labels of its own. */
  selinux?: boolean;
  /** The file of a seccomp profile in docker's format; `unconfined`: none; `strict` and `builtin`, the default: Drydock's own. */
  seccompProfile?: string;
}

type RightSetting =
  | 'apparmor-profile'
  | 'cdi-auto-allow'
  | 'cdi-disabled'
  | 'cdi-spec-dir'
  | 'seccomp-profile'
  | 'selinux';

/**
 * Reads the rights. `textOf` returns a setting's text (a list's with commas), `undefined` or `''` where it is not set, and
 * `nameOf` the name by which an error calls it. Throws `invalid`.
 */
export function operatorRights(
  textOf: (setting: RightSetting) => string | undefined,
  nameOf: (setting: RightSetting) => string = (setting) => setting,
): OperatorRights {
  const list = (setting: RightSetting) => {
    const items = (textOf(setting) ?? '').split(',').filter((item) => item !== '');
    return items.length === 0 ? undefined : items;
  };
  const truth = (setting: RightSetting) => {
    const text = textOf(setting);
    if (text === undefined || text === '') return undefined;
    const is = parseBool(text);
    if (is !== undefined) return is;
    throw fail('invalid', 'client', `${nameOf(setting)}=${text}: want true or false`);
  };
  const cdi: CdiOptions = {
    disabled: truth('cdi-disabled'),
    specDirs: list('cdi-spec-dir'),
    autoAllowed: list('cdi-auto-allow'),
  };
  const relative = cdi.specDirs?.find((dir) => !dir.startsWith('/'));
  if (relative !== undefined) {
    throw fail('invalid', 'client', `${nameOf('cdi-spec-dir')}: ${relative} is no absolute path`);
  }
  const seccomp = textOf('seccomp-profile') || undefined;
  if (
    seccomp !== undefined &&
    !seccomp.startsWith('/') &&
    !['builtin', 'strict', 'unconfined'].includes(seccomp)
  ) {
    throw fail('invalid', 'client', `${nameOf('seccomp-profile')}: ${seccomp} is no absolute path`, {
      hint: 'Want a path, builtin, strict or unconfined.',
    });
  }
  const rights: OperatorRights = {
    cdi: Object.values(cdi).every((value) => value === undefined) ? undefined : cdi,
    apparmorProfile: textOf('apparmor-profile') || undefined,
    selinux: truth('selinux'),
    seccompProfile: seccomp,
  };
  return Object.fromEntries(Object.entries(rights).filter(([, value]) => value !== undefined));
}

/** Reads the rights from the environment: `DRYDOCK_CDI_SPEC_DIR` and so on. Throws `invalid`. */
export function stepRightsFromEnv(env: NodeJS.ProcessEnv): OperatorRights {
  const nameOf = (setting: RightSetting) => `DRYDOCK_${setting.toUpperCase().replaceAll('-', '_')}`;
  return operatorRights((setting) => env[nameOf(setting)], nameOf);
}
