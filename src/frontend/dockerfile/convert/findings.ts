import type { Finding } from '../ast.ts';

/** Collects the findings of the checks, over all platforms. */
export class LintFindings {
  readonly list: Finding[];

  constructor(first: readonly Finding[] = []) {
    this.list = [...first];
  }

  add(...findings: readonly Finding[]): void {
    for (const finding of findings) this.list.push(finding);
  }
}
