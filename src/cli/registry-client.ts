/** A client of registries for commands that need no store. */
import { RegistryClient } from '../registry/index.ts';
import { version } from '../version.ts';
import type { CommandContext } from './command.ts';

/** The client that the program's flags and variables describe. The caller closes it. */
export function registryClient({ insecureRegistries }: CommandContext): RegistryClient {
  return new RegistryClient({ userAgent: `drydock/${version}`, insecure: insecureRegistries });
}
