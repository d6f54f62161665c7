/** Refuses flags of docker build and buildx build that ask for something Drydock does not do. */
import { fail } from '../../errors/index.ts';
import type { FlagValues } from '../flags.ts';
import type { buildFlags } from './flags.ts';

/**
 * Throws `unsupported`, with the flag's name, when a flag asks for something that would not be done. Values that ask
 * for what is done anyway (`--rm`, `--isolation=default`) pass.
 */
export function refuseFlags(flags: FlagValues<typeof buildFlags>): void {
  refuseBuilder(flags.builder);
  if (flags.isolation !== undefined && !['', 'default'].includes(flags.isolation)) {
    throw refused(`--isolation ${flags.isolation} is not supported: it is for Windows`, 'Leave it out.');
  }
  if (flags['security-opt'].length > 0) {
    throw refused(
      '--security-opt is not supported: steps run in the sandbox that Drydock gives them',
      'A step that needs more rights says RUN --security=insecure, granted by --allow security.insecure.',
    );
  }
  if (flags['disable-content-trust'] === false) {
    throw refused(
      '--disable-content-trust=false is not supported: there is no content trust here',
      'Pin images by digest.',
    );
  }
  refusePolicy(flags.policy);
  if (flags.rm === false) {
    throw refused("--rm=false is not supported: a step's container does not outlive it", 'Leave it out.');
  }
}

/** Throws `unsupported` for policies by which buildx decides; that there are none, it may say. */
export function refusePolicy(policy: readonly string[]): void {
  const asked = policy.find((text) => !/^disabled(=true)?$/.test(text));
  if (asked === undefined) return;
  throw refused(
    `--policy ${asked} is not supported: it is written in Rego, which buildx alone reads`,
    '--source-policy FILE takes a lock of `drydock lock`, or another source policy.',
  );
}

/** Throws `unsupported` for a builder instance: there are none here. */
export function refuseBuilder(builder: string | undefined): void {
  if (builder !== undefined && !['', 'default'].includes(builder)) {
    throw refused(
      `--builder ${builder} is not supported: there are no builder instances here`,
      'A daemon elsewhere is chosen by --host, before the command, or DRYDOCK_HOST.',
    );
  }
}

function refused(message: string, hint: string): Error {
  return fail('unsupported', 'client', message, { hint });
}
