/** The worker task `sbom.scan`: writes the bills of materials of trees. */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { openView, stopper, type ViewSpec } from '../fs/index.ts';
import { writeAll } from '../linux/index.ts';
import type { TaskContext } from '../workers/index.ts';
import { cycloneDxJson } from './cyclonedx.ts';
import { type Inventory, inventoryOf } from './inventory.ts';
import { fileName } from './names.ts';
import { spdxJson } from './spdx.ts';
import type { SbomFormat } from './types.ts';

/** Trees to look through, and the form of their bills. */
interface ScanArgs {
  /** The name of each tree and its view. */
  targets: { name: string; spec: ViewSpec }[];
  format: SbomFormat;
  /** ms since the epoch */
  createdAt: number;
  /** The version of this program. */
  version: string;
  /** The folder on this host that gets a file for each tree. */
  dir: string;
}

/** What a scan has found. */
interface Scanned {
  packages: number;
  /** A sentence for each file that could not be read. */
  problems: string[];
}

/** Looks through the trees and writes `NAME.spdx.json` or `NAME.cdx.json` for each. Throws `canceled`. */
export function scan({ targets, format, createdAt, version, dir }: ScanArgs, ctx: TaskContext): Scanned {
  let packages = 0;
  const problems: string[] = [];
  for (const { name, spec } of targets) {
    const found = inventoryOf(openView(spec, undefined, stopper(ctx)), () => ctx.aborted());
    packages += found.components.length;
    problems.push(...found.problems);
    const facts = { name, createdAt, version };
    const write = format === 'spdx' ? spdxJson : cycloneDxJson;
    writePieces(join(dir, fileName(name, format)), write(found satisfies Inventory, facts));
  }
  return { packages, problems };
}

function writePieces(path: string, pieces: Iterable<string>): void {
  const fd = openSync(path, 'wx', 0o644);
  try {
    let held = '';
    for (const piece of pieces) {
      held += piece;
      if (held.length < 256 << 10) continue;
      writeAll(fd, Buffer.from(held));
      held = '';
    }
    writeAll(fd, Buffer.from(held));
  } finally {
    closeSync(fd);
  }
}
