/** What a step has used of the machine, in a line. Pure. */
import type { UsedSum } from '../progress/index.ts';
import { ramText } from '../words/index.ts';

/** `used 1.52 s of CPU, 45MiB of memory at most, read 3MiB, wrote 12.5MiB` */
export function usedText({ cpu, memory, read, written }: UsedSum): string {
  const parts = [
    ...(cpu === undefined ? [] : [`used ${(cpu / 1e9).toFixed(2)} s of CPU`]),
    ...(memory === undefined ? [] : [`${ramText(memory)} of memory at most`]),
    ...(read === undefined ? [] : [`read ${ramText(read)}`]),
    ...(written === undefined ? [] : [`wrote ${ramText(written)}`]),
  ];
  return parts.join(', ');
}
