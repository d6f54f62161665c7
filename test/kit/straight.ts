/** `scripts/straight.mjs` with types: imports led past the rooms' doors, as bundles have them. */
import type { Plugin } from 'esbuild';

const script = '../../scripts/straight.mjs';
export const { doorOf, straight, straightImports } = (await import(script)) as {
  doorOf(path: string, text: string): Map<string, unknown>;
  straight(file: string, text: string, doors: Map<string, unknown>, src: string, whole?: string[]): string;
  straightImports(src: string, whole?: string[]): Plugin;
};
