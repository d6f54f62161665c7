import type { InstructionOf } from '../ast.ts';
import { expandWords } from '../expand/expand.ts';
import { exposedPorts } from '../parse/ports.ts';
import { type Conversion, reportUnset } from './conversion.ts';
import { goList } from './go-format.ts';
import { commit } from './history.ts';
import type { StageState } from './stages.ts';

/** Converts EXPOSE: `80`, `80/udp`, `8000-8010`. Host ports in front are ignored, with a warning. */
export function convertExpose(
  conversion: Conversion,
  stage: StageState,
  instruction: InstructionOf<'EXPOSE'>,
): void {
  const { env } = stage.state.values;
  const { escape: esc } = conversion.file.directives;
  const written: string[] = [];
  for (const word of instruction.values) {
    const { values, unset } = expandWords(word, (name) => env.get(name), { escape: esc });
    reportUnset(conversion, stage, unset, instruction);
    written.push(...values);
  }
  const { ports, findings } = exposedPorts(written, instruction.range);
  conversion.allowances.ports.take(ports.length);
  conversion.findings.add(...findings);
  stage.grown.ports = stage.grown.ports.putNames(ports);
  commit(conversion, stage, `EXPOSE ${goList(ports)}`);
}
