/** Objects in Kubernetes' protobuf, as clients written in Go send them: as much of a deployment as a cluster needs. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

const magic = 'k8s\0';

/** A message's fields by their numbers, each as often as it came. */
type Fields = Map<number, (Buffer | number)[]>;

/** Whether a body is an object in this form. */
export function isProtobuf(body: Buffer): boolean {
  return body.subarray(0, 4).toString('latin1') === magic;
}

/** The object as it would be in JSON. https://github.com/kubernetes/api has the numbers. */
export function objectIn(body: Buffer) {
  const envelope = fieldsOf(body.subarray(4));
  const type = sub(envelope, 1);
  const object = sub(envelope, 2);
  const spec = sub(object, 2);
  const template = sub(spec, 3);
  return {
    apiVersion: text(type, 1),
    kind: text(type, 2),
    metadata: metadataOf(sub(object, 1)),
    spec: {
      replicas: Number(spec.get(1)?.[0] ?? 1),
      selector: { matchLabels: map(sub(spec, 2), 1) },
      template: {
        metadata: metadataOf(sub(template, 1)),
        spec: {
          containers: all(sub(template, 2), 2).map((container) => ({
            name: text(container, 1),
            image: text(container, 2),
            args: (container.get(4) ?? []).map(String),
            env: all(container, 7).map((each) => ({ name: text(each, 1), value: text(each, 2) })),
          })),
        },
      },
    },
  };
}

function metadataOf(fields: Fields) {
  return { name: text(fields, 1), labels: map(fields, 11), annotations: map(fields, 12) };
}

function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    const list = fields.get(number) ?? [];
    fields.set(number, list);
    if (wire === WireType.LengthDelimited) list.push(Buffer.from(reader.bytes()));
    else if (wire === WireType.Varint) list.push(Number(reader.int64()));
    else reader.skip(wire, number);
  }
  return fields;
}

const all = (fields: Fields, number: number) =>
  (fields.get(number) ?? []).map((each) => fieldsOf(each as Buffer));
const sub = (fields: Fields, number: number): Fields => all(fields, number)[0] ?? new Map();
const text = (fields: Fields, number: number): string => String(fields.get(number)?.[0] ?? '');
const map = (fields: Fields, number: number): Record<string, string> =>
  Object.fromEntries(all(fields, number).map((entry) => [text(entry, 1), text(entry, 2)]));
