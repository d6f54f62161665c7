/** Bake files of a git repository or a web server, which the place where the builds run fetches. */
import { mkdtemp, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BakeFile, defaultFiles } from '../../bake/index.ts';
import type { Engine } from '../../engine/index.ts';
import { fail, prefixed } from '../../errors/index.ts';
import type { ProgressSink } from '../../progress/index.ts';
import { isHttpUrl, isRemoteUrl, parseGitRemote } from '../../words/index.ts';
import { type BuildFlags, prepareBuild } from '../build/prepare.ts';
import { runPrepared } from '../build/run.ts';
import type { CommandContext } from '../command.ts';
import type { Endpoint } from '../remote/endpoint.ts';
import { noFlags } from './target-flags.ts';

/** The largest file that is read of a web server, in bytes. */
const largest = 2 << 20;

/** Bake files that are not of this machine. */
export interface RemoteFiles {
  files: BakeFile[];
  /** The URL that contexts begin with; undefined where they are folders of this machine. */
  base?: string;
}

/** The operands of `drydock bake`: `[URL [URL of the command's context]] TARGET…`. */
export function bakeOperands(operands: readonly string[]): {
  url?: string;
  here?: string;
  targets: string[];
} {
  const [url, here] = operands;
  if (url === undefined || !isRemoteUrl(url)) return { targets: [...operands] };
  if (here === undefined || !isRemoteUrl(here)) return { url, targets: operands.slice(1) };
  return { url, here, targets: operands.slice(2) };
}

/**
 * Fetches the files of these names, or those of the usual names. A URL of a web server that is no archive is a bake
 * file itself. Throws `not-found` for a name that is not there, and the errors of fetching.
 */
export async function remoteFiles(
  url: string,
  names: readonly string[],
  place: Engine | Endpoint,
  ctx: CommandContext,
  sink: ProgressSink,
): Promise<RemoteFiles> {
  const dir = await mkdtemp(join(tmpdir(), 'drydock-bake-'));
  try {
    const fetched = (text: string, context: string) => fetchInto(dir, text, context, place, ctx, sink);
    if (isFile(url)) {
      await fetched(`FROM scratch\nADD [${JSON.stringify(url)}, "/file"]\n`, dir);
      const path = join(dir, 'out/file');
      if (!(await isArchive(path))) {
        const { size } = await stat(path);
        if (size <= largest) return { files: [{ filename: url, text: await readFile(path, 'utf8') }] };
        throw fail('exhausted', 'client', `${url} has ${size} bytes, a bake file at most ${largest}`);
      }
    }
    const wanted = names.length > 0 ? names : defaultFiles;
    // A pattern may match nothing, and a file of the usual names may be missing.
    const pattern = (name: string) =>
      names.length > 0 ? literal(name) : `${name.slice(0, -1)}[${name.at(-1)}]`;
    const copies = wanted.map((name, i) => `COPY ${JSON.stringify([pattern(name), `/${i}/`])}\n`);
    await fetched(`FROM scratch\n${copies.join('')}`, url);
    const found = wanted.map(async (name, i): Promise<BakeFile[]> => {
      const [file] = await readdir(join(dir, 'out', String(i))).catch(() => []);
      if (file === undefined) return [];
      return [{ filename: name, text: await readFile(join(dir, 'out', String(i), file), 'utf8') }];
    });
    return { files: (await Promise.all(found)).flat(), base: url };
  } catch (err) {
    throw prefixed(err, `the bake files of ${url}`);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Whether a URL leads to a file of a web server: git's end in .git, or say so otherwise. */
function isFile(url: string): boolean {
  return isHttpUrl(url) && parseGitRemote(url)?.path.endsWith('.git') !== true;
}

/** Builds a Dockerfile into the folder `out`. */
async function fetchInto(
  dir: string,
  text: string,
  context: string,
  place: Engine | Endpoint,
  ctx: CommandContext,
  sink: ProgressSink,
): Promise<void> {
  const { env } = ctx;
  const secrets = ['TOKEN', 'HEADER'].filter((name) => env[`BUILDX_BAKE_GIT_AUTH_${name}`]);
  const agent = env.BUILDX_BAKE_GIT_SSH ? `default=${env.BUILDX_BAKE_GIT_SSH}` : 'default';
  const flags: BuildFlags = {
    ...noFlags(),
    output: [`type=local,dest=${join(dir, 'out')}`],
    provenance: 'false',
    secret: secrets.map((name) => `id=GIT_AUTH_${name},env=BUILDX_BAKE_GIT_AUTH_${name}`),
    ssh: env.BUILDX_BAKE_GIT_SSH || env.SSH_AUTH_SOCK ? [agent] : [],
  };
  const prepared = await prepareBuild(flags, context, ctx);
  const options = { ...prepared.options, dockerfileText: text };
  await runPrepared({ ...prepared, options }, place, sink, ctx.signal);
}

/** The first bytes of archives, as builders unpack them. */
const magics = ['425a68', '1f8b08', 'fd377a585a00', '28b52ffd'];

async function isArchive(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(512), 0, 512, 0);
    const start = buffer.toString('hex', 0, 6);
    return magics.some((magic) => start.startsWith(magic)) || buffer.toString('latin1', 257, 262) === 'ustar';
  } finally {
    await file.close();
  }
}

/** A name as a pattern of COPY. */
function literal(name: string): string {
  return name.replace(/[*?[\]\\]/g, '\\$&');
}
