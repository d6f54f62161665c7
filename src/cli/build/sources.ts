/**
 * Checks the files and agents that `--secret` and `--ssh` name before any work is done, so that a mistyped path shows
 * at once.
 */
import { statSync } from 'node:fs';
import { fail } from '../../errors/index.ts';
import type { SecretSource, SshSource } from '../../session/index.ts';

/** Throws `not-found` or `invalid` (hop `client`) when a file or an agent is missing. */
export function checkSources(
  secrets: readonly SecretSource[],
  ssh: readonly SshSource[],
  env: NodeJS.ProcessEnv,
): void {
  for (const source of secrets) {
    if ('file' in source) requirePath(source.file, `--secret id=${source.id}`);
  }
  for (const { id, paths } of ssh) {
    for (const path of paths) requirePath(path, `--ssh ${id}`);
    if (paths.length > 0 || env.SSH_AUTH_SOCK) continue;
    throw fail('invalid', 'client', `--ssh ${id}: there is no agent: SSH_AUTH_SOCK is not set`, {
      hint: `Start an agent (\`eval $(ssh-agent) && ssh-add\`), or name a key with --ssh ${id}=PATH.`,
    });
  }
}

function requirePath(path: string, flag: string): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  throw fail('not-found', 'client', `${flag}: ${path}: no such file`, {
    hint: 'Paths are relative to the current folder.',
  });
}
