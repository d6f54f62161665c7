/** Where spans go, by OpenTelemetry's own variables. Pure. https://opentelemetry.io/docs/specs/otel/protocol/exporter/ */
import { fail } from '../errors/index.ts';

const protocols = ['http/protobuf', 'http/json', 'grpc'] as const;

/** A receiver of spans, and what it is told of the sender. */
export interface TraceSettings {
  /** The whole address; of `grpc` its origin counts. */
  url: URL;
  protocol: (typeof protocols)[number];
  headers: Record<string, string>;
  /** How long one request may take, in ms. */
  timeout: number;
  /** Files: the CA of the receiver's certificate, and our own. */
  ca?: string;
  cert?: string;
  key?: string;
  /** What the spans are of: `service.name` and its kin. */
  resource: Record<string, string>;
}

/**
 * Reads the variables; undefined when no receiver is named, or spans are switched off (OTEL_SDK_DISABLED,
 * OTEL_TRACES_EXPORTER=none, OTEL_TRACES_SAMPLER=always_off). Those with TRACES in their names win over the general ones.
 * Throws `invalid` with the variable's name.
 */
export function traceSettings(env: NodeJS.ProcessEnv): TraceSettings | undefined {
  const pick = (name: string) =>
    env[`OTEL_EXPORTER_OTLP_TRACES_${name}`] || env[`OTEL_EXPORTER_OTLP_${name}`] || undefined;
  const endpoint = pick('ENDPOINT');
  if (endpoint === undefined || isOff(env)) return undefined;
  const protocol = protocols.find((each) => each === (pick('PROTOCOL') ?? protocols[0]));
  if (protocol === undefined) {
    throw fail(
      'invalid',
      'client',
      `OTEL_EXPORTER_OTLP_PROTOCOL=${pick('PROTOCOL')}: want ${protocols.join(', ')}`,
    );
  }
  let url: URL;
  try {
    url = new URL(endpoint);
    if (!/^https?:$/.test(url.protocol)) throw new Error('its scheme is neither http nor https');
  } catch (cause) {
    throw fail('invalid', 'client', `OTEL_EXPORTER_OTLP_ENDPOINT=${endpoint} is no URL of a server`, {
      cause,
    });
  }
  // The general address is a base; that for spans is the whole one.
  if (!env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  const timeout = Number(pick('TIMEOUT') ?? 10_000);
  return {
    url,
    protocol,
    headers: pairsOf(pick('HEADERS')),
    timeout: Number.isFinite(timeout) && timeout > 0 ? timeout : 10_000,
    ca: pick('CERTIFICATE'),
    cert: pick('CLIENT_CERTIFICATE'),
    key: pick('CLIENT_KEY'),
    resource: {
      'service.name': 'drydock',
      ...pairsOf(env.OTEL_RESOURCE_ATTRIBUTES),
      ...(env.OTEL_SERVICE_NAME && { 'service.name': env.OTEL_SERVICE_NAME }),
    },
  };
}

function isOff(env: NodeJS.ProcessEnv): boolean {
  return (
    env.OTEL_SDK_DISABLED?.toLowerCase() === 'true' ||
    env.OTEL_TRACES_EXPORTER === 'none' ||
    env.OTEL_TRACES_SAMPLER === 'always_off'
  );
}

/** `name=value,name=value`, percent-encoded. */
function pairsOf(text = ''): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const each of text.split(',')) {
    const at = each.indexOf('=');
    if (at < 1) continue;
    const value = each.slice(at + 1).trim();
    try {
      pairs[each.slice(0, at).trim()] = decodeURIComponent(value);
    } catch {
      pairs[each.slice(0, at).trim()] = value;
    }
  }
  return pairs;
}
