import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** A program's path: the variable's value, else where PATH has it. Undefined: nowhere. */
export function findProgram(variable: string, name: string): string | undefined {
  const given = process.env[variable];
  const folders = (process.env.PATH ?? '').split(':').filter((folder) => folder !== '');
  return [...(given ? [given] : folders.map((folder) => join(folder, name)))].find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
