/** The response of exporters and frontends, as clients read it: text, and JSON in base64. Pure. */

/** A client that sends this header is also told the image's size in bytes, under this name. */
export const imageSizeKey = 'drydock.image.size';

export function exporterResponse(
  metadata: Readonly<Record<string, unknown>>,
  frontend: Readonly<Record<string, Uint8Array>>,
): Record<string, string> {
  const response: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(frontend)) {
    if (name.startsWith('frontend.')) response[name] = Buffer.from(bytes).toString('utf8');
  }
  for (const [name, value] of Object.entries(metadata)) {
    response[name] =
      typeof value === 'string' ? value : Buffer.from(JSON.stringify(value)).toString('base64');
  }
  return response;
}
