/** Credential helpers: programs that keep accounts. https://github.com/docker/docker-credential-helpers#development */
import { spawn } from 'node:child_process';
import { type DrydockError, errnoCode, fail } from '../errors/index.ts';

const helperTimeoutMs = 30_000;

/** The error for a helper that fails. */
export function helperFault(name: string, host: string, why: string, cause?: unknown): DrydockError {
  return fail(
    'unauthenticated',
    'client',
    `the credential helper docker-credential-${name} failed for ${host}: ${why}`,
    {
      cause,
      hint: `docker's config.json names this helper (credsStore or credHelpers); install it, or remove it from the file.`,
    },
  );
}

/**
 * Runs `docker-credential-NAME VERB` with `input` on its stdin, and returns what it prints; undefined when it says that
 * it has no such account. Rejects with `unauthenticated`.
 */
export async function runHelper(
  name: string,
  verb: 'get' | 'store' | 'erase',
  input: string,
  host: string,
  env: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const broken = (why: string, cause?: unknown) => helperFault(name, host, why, cause);
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw broken('its name is not a plain word');
  const { code, stdout, stderr } = await run(`docker-credential-${name}`, verb, input, env).catch((err) => {
    throw broken(errnoCode(err) === 'ENOENT' ? 'there is no such program' : String(err.message), err);
  });
  if (code === 0) return stdout;
  const said = (stdout + stderr).trim();
  // The protocol's own words for "nothing is filed", as every helper prints them.
  if (/credentials not found/i.test(said)) return undefined;
  throw broken(said.slice(0, 300) || `it ended with ${code}`);
}

function run(
  program: string,
  verb: string,
  input: string,
  env: NodeJS.ProcessEnv,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [verb], { env, stdio: 'pipe', timeout: helperTimeoutMs });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data) => {
      stdout += data;
      if (stdout.length > 1 << 20) child.kill('SIGKILL');
    });
    child.stderr.on('data', (data) => {
      stderr = (stderr + data).slice(-4096);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    // A helper that does not read is no error of ours.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}
