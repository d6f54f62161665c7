/** Entry of the command's bundle: has V8's compiled code kept, which halves the start, before the rest is loaded. */
import { statSync } from 'node:fs';
import { createRequire, enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { setEnvironmentData } from 'node:worker_threads';
import { codeOfThreads, loadKept } from './code-cache.ts';

/** The name of the folder beside this file that holds the command's code. The bundler puts it in. */
declare const BUNDLE: string;

// The file that is a whole program gives Node its libraries by this variable: what Drydock starts has its own.
const { DRYDOCK_LIBRARY_PATH: libraries } = process.env;
if (libraries !== undefined) {
  delete process.env.DRYDOCK_LIBRARY_PATH;
  if (libraries === '') delete process.env.LD_LIBRARY_PATH;
  else process.env.LD_LIBRARY_PATH = libraries;
}

// Node would open its debugger on a port of loopback, on which every program of this machine, and every step with its
// network, could have this process run code. Who sends the signal means dockerd, which writes its stacks then.
process.on('SIGUSR1', () => {});

const here = fileURLToPath(new URL(`./${BUNDLE}/`, import.meta.url));
const uid = process.getuid?.();

/**
 * Beside the bundle for its owner; others leave nothing there that the owner could not remove. Undefined: a user without
 * a home; in a folder of all users somebody else might have put code.
 */
function cacheFolder(): string | undefined {
  if (statSync(here).uid === uid) return `${here}.compile-cache`;
  const isRoot = uid === 0 && process.env.DRYDOCK_ROOTLESS === undefined;
  if (isRoot) return '/var/cache/drydock';
  const { HOME, XDG_CACHE_HOME } = process.env;
  if (XDG_CACHE_HOME?.startsWith('/')) return `${XDG_CACHE_HOME}/drydock`;
  return HOME ? `${HOME}/.cache/drydock` : undefined;
}

// Where it cannot be written, Node goes without.
const folder = cacheFolder();
const directory = folder === undefined ? undefined : enableCompileCache(folder).directory;
// A daemon's start is a small part of its life, and its end may be a kill that leaves no time to keep anything.
const isDaemon = process.argv.includes('daemon') || process.argv.includes('buildkitd');
if (isDaemon || directory === undefined) createRequire(import.meta.url)(`${here}cli.cjs`);
else {
  const place = `${directory}/${BUNDLE}-${process.version}-${process.arch}-${uid}`;
  setEnvironmentData(codeOfThreads, `${place}-threads`);
  loadKept(here, 'cli.cjs', place, 'end');
}
