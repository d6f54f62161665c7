/** Attestations of outputs that are files: statements about the files, as further files at the top. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Attestation, digestSet, statementBytes, subjectsOf } from '../attest/index.ts';
import { fail } from '../errors/index.ts';
import type { ViewSpec } from '../fs/index.ts';
import { runTask } from '../workers/index.ts';
import type { ExportContext } from './types.ts';

interface FileAttestationOptions {
  /** The beginning of the files' names. */
  prefix: string;
  /** The platform as a part of the files' names; given when files of several platforms come to one place. */
  platform: string | undefined;
}

/**
 * Adds a file to a tree for each attestation of it that is not inline-only. The folder with these files is added to
 * `made`; the caller removes it. Rejects with `invalid` for two files of one name.
 */
export async function withStatements(
  spec: ViewSpec,
  attestations: readonly Attestation[],
  { prefix, platform }: FileAttestationOptions,
  { store, signal }: ExportContext,
  made: string[],
): Promise<ViewSpec> {
  const wanted = attestations.filter(({ inlineOnly }) => !inlineOnly);
  if (wanted.length === 0) return spec;
  const files = await runTask('fs.digests', { spec }, { signal });
  const own = files.map(({ path, digest }) => ({ name: path, digest: digestSet(digest) }));
  const folder = await mkdtemp(join(store.runDir, 'statements-'));
  made.push(folder);
  for (const { filename, predicateType, subjects, predicate } of wanted) {
    const subject = subjectsOf(subjects, own);
    const name = fileName(`${prefix}${filename}`, platform);
    const bytes = statementBytes({ predicateType, subject, predicate: await predicate() }, 2);
    await writeFile(join(folder, name), bytes, { flag: 'wx', mode: 0o644 }).catch((err) => {
      if (err.code !== 'EEXIST') throw err;
      throw fail('invalid', 'export', `two attestations have one file name, ${JSON.stringify(name)}`);
    });
  }
  return { kind: 'added', to: spec, dir: folder };
}

/** `provenance.json`, or `provenance.linux_amd64.json`. */
function fileName(name: string, platform: string | undefined): string {
  if (platform === undefined) return name;
  const dot = name.lastIndexOf('.');
  const [base, extension] = dot <= 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot)];
  return `${base}.${platform.replace(/[/\0]/g, '_')}${extension}`;
}
