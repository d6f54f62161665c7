/** The typed details of a call's error, as BuildKit's clients read them. Pure. */
import type { SourceLocation } from '../../errors/index.ts';

/** What the details of an error say. */
interface ErrorDetails {
  exitCode?: number;
  source?: SourceLocation;
  /** The digest of the step. */
  vertex?: string;
}

/** Reads details: each has the name of its type and its JSON. Details of other types are left out. */
export function readErrorDetails(details: readonly { type: string; value: Uint8Array }[]): ErrorDetails {
  const found: ErrorDetails = {};
  for (const { type, value } of details) {
    const json = decodedJson(value);
    if (type.endsWith('gatewayapi.ExitMessage+json')) found.exitCode = Number(json?.Code ?? 0);
    if (type.endsWith('errdefs.Source+json')) found.source = sourceOf(json);
    if (type.endsWith('errdefs.Vertex+json')) found.vertex = String(json?.digest ?? '');
  }
  return found;
}

/** The message of an error without the lines that its hop and its hint are, and these. */
export function readMessage(text: string): { message: string; hop?: string; hint?: string } {
  const lines = text.split('\n');
  const after = (start: string) => lines.find((line) => line.startsWith(start))?.slice(start.length);
  const message = lines.filter((line) => !/^(hint|at hop): /.test(line)).join('\n');
  return { message, hop: after('at hop: '), hint: after('hint: ') };
}

function decodedJson(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

function sourceOf(value: Record<string, unknown> | undefined): SourceLocation | undefined {
  const { info, ranges } = (value ?? {}) as {
    info?: { filename?: string; data?: string };
    ranges?: SourceLocation['ranges'];
  };
  if (info?.filename === undefined || !Array.isArray(ranges)) return undefined;
  return { filename: info.filename, text: Buffer.from(info.data ?? '', 'base64').toString('utf8'), ranges };
}
