/** Entry of the command's bundle: turns V8's compile cache on, which halves the start, before the rest is loaded. */
import { statSync } from 'node:fs';
import { createRequire, enableCompileCache } from 'node:module';
import { homedir } from 'node:os';
import { fileURLToPath } from 'node:url';

/** The name of the folder beside this file that holds the command's code. The bundler puts it in. */
declare const BUNDLE: string;

const here = fileURLToPath(new URL(`./${BUNDLE}/`, import.meta.url));
const uid = process.getuid?.();

/** Beside the bundle for its owner; others leave nothing there that the owner could not remove. */
function cacheFolder(): string {
  if (statSync(here).uid === uid) return `${here}.compile-cache`;
  const isRoot = uid === 0 && process.env.DRYDOCK_ROOTLESS === undefined;
  return isRoot ? '/var/cache/drydock' : `${process.env.XDG_CACHE_HOME || `${homedir()}/.cache`}/drydock`;
}

// Where it cannot be written, Node goes without.
enableCompileCache(cacheFolder());
createRequire(import.meta.url)(`${here}cli.cjs`);
