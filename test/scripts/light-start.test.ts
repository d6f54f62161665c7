/** A build loads the code that it needs: libraries that only some builds use come late. */
import { join } from 'node:path';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { straightImports } from '../kit/straight.ts';

const src = join(import.meta.dirname, '../../src');

/** All that is loaded with these files before anything of them runs, by the bundler's own reading of their imports. */
async function loadedWith(...files: string[]): Promise<string[]> {
  const { metafile } = await build({
    entryPoints: files.map((file) => join(src, file)),
    outdir: 'out',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    external: ['koffi'],
    write: false,
    metafile: true,
    plugins: [straightImports(src)],
  });
  const { outputs } = metafile;
  const loaded = new Set<string>();
  const queue = Object.keys(outputs).filter((name) =>
    files.some((file) => outputs[name]?.entryPoint?.endsWith(file)),
  );
  for (const name of queue) {
    if (loaded.has(name)) continue;
    loaded.add(name);
    for (const { path, kind } of outputs[name]?.imports ?? [])
      if (kind === 'import-statement') queue.push(path);
  }
  return [...loaded].flatMap((name) => Object.keys(outputs[name]?.inputs ?? {}));
}

test('a build in the command’s process loads no generated messages, and no git and http sources', async () => {
  const loaded = await loadedWith('cli/commands/build.ts', 'engine/engine.ts');
  // The build itself is among them.
  expect(
    loaded.filter((file) => /src\/(engine\/build|llb\/graph|source\/image)\.ts$/.test(file)),
  ).toHaveLength(3);
  expect(loaded.filter((file) => /@bufbuild|_pb\.js$|src\/source\/(git|http)/.test(file))).toEqual([]);
});
