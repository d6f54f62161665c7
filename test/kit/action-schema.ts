/** The check of GitHub's own reader of action.yml files. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

interface Parser {
  parseAction(
    file: { name: string; content: string },
    trace: object,
  ): { context: { errors: { getErrors(): { message: string }[] } } };
  NoOperationTraceWriter: new () => object;
}

/** What GitHub finds wrong with an action.yml. Its package is for bundlers: Node does not import its JSON as it is. */
export async function actionFaults(content: string): Promise<string[]> {
  const dir = mkdtempSync(join(tmpdir(), 'drydock-action-'));
  const outfile = join(dir, 'parser.cjs');
  await build({
    bundle: true,
    format: 'cjs',
    platform: 'node',
    outfile,
    stdin: {
      resolveDir: import.meta.dirname,
      contents: `export { NoOperationTraceWriter } from '@actions/workflow-parser';
        export { parseAction } from '@actions/workflow-parser/actions/action-parser';`,
    },
  });
  const { parseAction, NoOperationTraceWriter } = createRequire(import.meta.url)(outfile) as Parser;
  rmSync(dir, { recursive: true });
  const { context } = parseAction({ name: 'action.yml', content }, new NoOperationTraceWriter());
  return context.errors.getErrors().map(({ message }) => message);
}
