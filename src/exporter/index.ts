/** From a result to an image, an archive or files. */
export { parseImageAttrs } from './attrs.ts';
export { basesOf } from './bases.ts';
export { createExporter } from './exporters.ts';
export { type CacheLayer, cacheLayers, layersOf } from './layers.ts';
export { editLayout, nameInLayout, readLayoutIndex } from './layout-index.ts';
export { signSecrets } from './sign-attrs.ts';
export type {
  Bases,
  ExportContext,
  Exporter,
  ExportResponse,
  LayerPacker,
  MadeNow,
  OutputSink,
  PlatformResult,
  StoredOutput,
} from './types.ts';
