/** The table of exporters, by type. */
import { fail, nearest } from '../errors/index.ts';
import { archiveExporter } from './archive.ts';
import { imageExporter } from './image.ts';
import { localExporter } from './local.ts';
import { tarExporter } from './tar.ts';
import type { Exporter } from './types.ts';

const makers: Record<string, (attrs: Record<string, string>) => Exporter> = {
  image: imageExporter,
  oci: (attrs) => archiveExporter('oci', attrs),
  docker: (attrs) => archiveExporter('docker', attrs),
  local: localExporter,
  tar: tarExporter,
};

/**
 * The exporter of a type, with its attributes checked. Throws `invalid` for an unknown type, with the one that was
 * likely meant.
 */
export function createExporter(type: string, attrs: Record<string, string>): Exporter {
  const make = Object.hasOwn(makers, type) ? makers[type] : undefined;
  if (make !== undefined) return make(attrs);
  const near = nearest(type, Object.keys(makers));
  throw fail('invalid', 'export', `there is no exporter ${JSON.stringify(type)}`, {
    hint: near === undefined ? `Exporters: ${Object.keys(makers).join(', ')}.` : `Did you mean ${near}?`,
  });
}
