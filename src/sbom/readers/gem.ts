/** Ruby's installed gems: a Ruby program in `specifications/NAME.gemspec`, which rubygems writes itself. */
import { linesOf } from '../lines.ts';
import type { Found, FoundPackage } from '../types.ts';

/** Reads one gem. A specification that is written by hand and computes its version is none. */
export function* gemspec(found: Found): Generator<FoundPackage, void> {
  let name: string | undefined;
  let version: string | undefined;
  let license: string | undefined;
  let homepage: string | undefined;
  for (const line of linesOf(found)) {
    const stub = /^# stub: (\S+) (\S+) /.exec(line);
    if (stub !== null) [, name, version] = stub;
    name ??= assigned(line, 'name');
    version ??= assigned(line, 'version') ?? /\bversion\s*=\s*Gem::Version\.new\(?"([^"]+)"/.exec(line)?.[1];
    homepage ??= assigned(line, 'homepage');
    const licenses = /\.licenses?\s*=\s*\[?(.*)/.exec(line)?.[1];
    if (licenses !== undefined) {
      license ??= [...licenses.matchAll(/["']([^"']+)["']/g)].map((match) => match[1]).join(' OR ');
    }
  }
  if (name !== undefined && version !== undefined) {
    yield { kind: 'gem', name, version, license: license || undefined, homepage };
  }
}

function assigned(line: string, field: string): string | undefined {
  return new RegExp(`^\\s*\\w+\\.${field}\\s*=\\s*["']([^"']+)["']`).exec(line)?.[1];
}
