import type { Pressure, PressureValues } from '../progress/index.ts';

/**
 * Reads the text of a pressure file (https://docs.kernel.org/accounting/psi.html); undefined where the kernel keeps
 * none.
 */
export function pressureIn(text: string | undefined): Pressure | undefined {
  const found: Pressure = { some: null, full: null };
  for (const line of (text ?? '').split('\n')) {
    const [kind, ...values] = line.split(' ');
    if (kind === 'some' || kind === 'full') found[kind] = valuesIn(values);
  }
  return found.some === null && found.full === null ? undefined : found;
}

function valuesIn(fields: readonly string[]): PressureValues {
  const of = (name: string) => {
    const number = Number(fields.find((field) => field.startsWith(`${name}=`))?.slice(name.length + 1));
    return Number.isNaN(number) ? null : number;
  };
  return { avg10: of('avg10'), avg60: of('avg60'), avg300: of('avg300'), total: of('total') };
}
