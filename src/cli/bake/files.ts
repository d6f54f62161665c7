/** Finds and reads the files of `drydock bake`. */
import { existsSync, readFileSync } from 'node:fs';
import { delimiter } from 'node:path';
import {
  type BakeFile,
  type BakeSurroundings,
  type Definitions,
  defaultFiles,
  dotEnv,
  here,
  readDefinitions,
} from '../../bake/index.ts';
import { fail } from '../../errors/index.ts';
import { formatPlatform, hostPlatform } from '../../oci/index.ts';
import { parseBool } from '../../words/index.ts';

interface BakeFlags {
  file: readonly string[];
  var: readonly string[];
}

/** What is different when the bake files come from a URL. */
interface FromUrl {
  files: readonly BakeFile[];
  /** The context of the command, for files that ask for it. */
  here?: string;
}

/** The names of files that are read at a URL; others are this side's. */
export function remoteNames(flags: BakeFlags, env: NodeJS.ProcessEnv): string[] {
  return (namedFiles(flags, env) ?? []).filter((name) => !name.startsWith(here));
}

/**
 * Reads everything that the files define: of this machine, or `from` a URL, and of this machine those whose names begin
 * with `cwd://`. Throws `not-found` without a file, and `invalid` with the place in one.
 */
export function bakeDefinitions(flags: BakeFlags, env: NodeJS.ProcessEnv, from?: FromUrl): Definitions {
  if (parseBool(env.BUILDX_BAKE_FILE_RELATIVE_PATHS ?? '') === true) {
    throw fail(
      'unsupported',
      'client',
      'BUILDX_BAKE_FILE_RELATIVE_PATHS is not obeyed: paths begin at the working folder',
    );
  }
  const named = namedFiles(flags, env)?.filter((name) => from === undefined || name.startsWith(here));
  const usual = () => defaultFiles.filter((name) => from === undefined && existsSync(name));
  const names = (named ?? usual()).map((name) => (name.startsWith(here) ? name.slice(here.length) : name));
  if (names.length === 0 && (from?.files.length ?? 0) === 0) {
    throw fail('not-found', 'client', "couldn't find a bake definition", {
      hint: `Name a file with -f, or write one of ${defaultFiles.join(', ')}.`,
    });
  }
  const local = names.map((name) => ({
    filename: name,
    text: name === '-' ? readFileSync(0, 'utf8') : read(name),
  }));
  const files = [...(from?.files ?? []), ...local];
  return readDefinitions(files, surroundings(variables(flags.var), env, from?.here ?? here));
}

/** The files that definitions are read from, there or not: a default one may come. */
export function bakeFiles(flags: Pick<BakeFlags, 'file'>, env: NodeJS.ProcessEnv): readonly string[] {
  return [...(namedFiles(flags, env) ?? defaultFiles), '.env'];
}

function namedFiles(
  { file }: Pick<BakeFlags, 'file'>,
  env: NodeJS.ProcessEnv,
): readonly string[] | undefined {
  const named = file.length > 0 ? file : namedByEnv(env);
  return named.length > 0 ? named : undefined;
}

function namedByEnv(env: NodeJS.ProcessEnv): string[] {
  const text = env.BUILDX_BAKE_FILE ?? '';
  return text === '' ? [] : text.split(env.BUILDX_BAKE_PATH_SEPARATOR || delimiter);
}

function read(name: string): string {
  try {
    return readFileSync(name, 'utf8');
  } catch (cause) {
    throw fail('not-found', 'client', `the bake file ${name} cannot be read`, { cause });
  }
}

function variables(texts: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw fail('invalid', 'client', `invalid --var ${JSON.stringify(text)}: want name=value`);
      return [text.slice(0, at), text.slice(at + 1)] as const;
    }),
  );
}

function surroundings(
  vars: ReadonlyMap<string, string>,
  env: NodeJS.ProcessEnv,
  context: string,
): BakeSurroundings {
  const seen = parseBool(env.BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP ?? '') === true ? {} : env;
  const dotenv = existsSync('.env') ? dotEnv(read('.env'), seen, '.env') : {};
  return {
    builtins: new Map([
      ['BAKE_CMD_CONTEXT', context],
      ['BAKE_LOCAL_PLATFORM', formatPlatform(hostPlatform())],
    ]),
    lookup: (name) => vars.get(name) ?? seen[name],
    env: { ...dotenv, ...seen, ...Object.fromEntries(vars) },
    readFile: read,
  };
}
