import { bytesOf } from '../../../linux/index.ts';
import type { Dockerfile } from '../ast.ts';
import { jsonLocation } from './location.ts';
import { table } from './table.ts';

/** The stages that may be built. */
export function targetsAnswer(file: Dockerfile): Record<string, string> {
  const last = file.stages.length - 1;
  const targets = file.stages.map((stage, i) => ({
    name: stage.name || undefined,
    default: i === last || undefined,
    description: stage.description || undefined,
    base: stage.base || undefined,
    platform: stage.platform || undefined,
    location: jsonLocation([stage.from.range]),
  }));
  const rows = targets.map(({ name = '', default: isDefault, description = '' }) => [
    isDefault ? (name === '' ? '(default)' : `${name} (default)`) : name,
    description,
  ]);
  return {
    'result.json': JSON.stringify(
      { targets, sources: [bytesOf(file.text).toString('base64')] },
      undefined,
      2,
    ),
    'result.txt': table([['TARGET', 'DESCRIPTION'], ...rows], 1),
  };
}
