/**
 * The shapes of docker's API answers, as its published definitions have them
 * (https://docs.docker.com/reference/api/engine/version/v1.50/): which fields must be there, and of which type.
 */

/** Problems of a value, each with its path; empty when it fits. */
export type Shape = (value: unknown, path: string) => string[];

const kindOf = (value: unknown) => (value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value);
const of =
  (kind: string, test: (value: never) => boolean = () => true): Shape =>
  (value, path) =>
    kindOf(value) === kind && test(value as never)
      ? []
      : [`${path}: want ${kind}, got ${JSON.stringify(value)?.slice(0, 80)}`];

export const text = of('string');
export const bool = of('boolean');
export const int = of('number', Number.isInteger);
export const matching = (pattern: RegExp): Shape => of('string', (value: string) => pattern.test(value));
export const digest = matching(/^sha256:[0-9a-f]{64}$/);
export const time = matching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/);

export const nullable =
  (shape: Shape): Shape =>
  (value, path) =>
    value === null ? [] : shape(value, path);

export const list =
  (item: Shape): Shape =>
  (value, path) =>
    Array.isArray(value) ? value.flatMap((each, i) => item(each, `${path}[${i}]`)) : of('list')(value, path);

export const mapOf =
  (item: Shape): Shape =>
  (value, path) =>
    kindOf(value) === 'object'
      ? Object.entries(value as object).flatMap(([key, each]) => item(each, `${path}.${key}`))
      : of('object')(value, path);

/** An object with all of `fields`, those of `optional` if it likes, and no others. */
export const object =
  (fields: Record<string, Shape>, optional: Record<string, Shape> = {}): Shape =>
  (value, path) => {
    if (kindOf(value) !== 'object') return of('object')(value, path);
    const record = value as Record<string, unknown>;
    const problems = Object.entries(fields).flatMap(([key, shape]) =>
      key in record ? shape(record[key], `${path}.${key}`) : [`${path}.${key} is missing`],
    );
    for (const [key, each] of Object.entries(record)) {
      if (key in fields) continue;
      const shape = optional[key];
      problems.push(
        ...(shape === undefined ? [`${path}.${key} is not a field`] : shape(each, `${path}.${key}`)),
      );
    }
    return problems;
  };

const platform = object({ architecture: text, os: text }, { variant: text, 'os.version': text });
const descriptor = object(
  { mediaType: text, digest, size: int },
  { platform, annotations: mapOf(text), urls: list(text) },
);

const manifestSummary = object(
  {
    ID: digest,
    Descriptor: descriptor,
    Available: bool,
    Size: object({ Content: int, Total: int }),
    Kind: matching(/^(image|attestation|unknown)$/),
  },
  {
    ImageData: object({ Platform: platform, Containers: list(text), Size: object({ Unpacked: int }) }),
    AttestationData: object({ For: digest }),
  },
);

const legacy = (field: boolean, fields: Record<string, Shape>) => (field ? fields : {});

/** API versions are compared by their minor number. */
const minor = (version: string) => Number(version.split('.')[1]);

export const imageSummary = (version: string): Shape =>
  object(
    {
      Id: digest,
      ParentId: text,
      RepoTags: list(text),
      RepoDigests: list(text),
      Created: int,
      Size: int,
      SharedSize: int,
      Labels: nullable(mapOf(text)),
      Containers: int,
      ...legacy(minor(version) < 44, { VirtualSize: int }),
      ...legacy(minor(version) >= 48, { Descriptor: descriptor }),
    },
    legacy(minor(version) >= 47, { Manifests: list(manifestSummary) }),
  );

const empty = object({});
const imageConfig = (version: string): Shape =>
  object(
    legacy(minor(version) < 50, {
      Hostname: text,
      Domainname: text,
      AttachStdin: bool,
      AttachStdout: bool,
      AttachStderr: bool,
      Tty: bool,
      OpenStdin: bool,
      StdinOnce: bool,
      Image: text,
    }),
    {
      User: text,
      ExposedPorts: nullable(mapOf(empty)),
      Env: nullable(list(text)),
      Cmd: nullable(list(text)),
      Entrypoint: nullable(list(text)),
      Volumes: nullable(mapOf(empty)),
      WorkingDir: text,
      Labels: nullable(mapOf(text)),
      OnBuild: nullable(list(text)),
      StopSignal: text,
      Shell: nullable(list(text)),
      ArgsEscaped: bool,
      Healthcheck: mapOf(() => []),
    },
  );

export const imageInspect = (version: string): Shape =>
  object(
    {
      Id: digest,
      RepoTags: list(text),
      RepoDigests: list(text),
      Parent: text,
      Comment: text,
      Author: text,
      Config: imageConfig(version),
      Architecture: text,
      Os: text,
      Size: int,
      GraphDriver: object({ Name: text, Data: nullable(mapOf(text)) }),
      RootFS: object({ Type: matching(/^layers$/) }, { Layers: list(digest) }),
      Metadata: object({ LastTagTime: time }),
      DockerVersion: text,
      ...legacy(minor(version) < 45, { Container: text, ContainerConfig: mapOf(() => []) }),
      ...legacy(minor(version) < 44, { VirtualSize: int, Created: time }),
      ...legacy(minor(version) >= 48, { Descriptor: descriptor }),
    },
    { Variant: text, OsVersion: text, Created: time, Manifests: list(manifestSummary) },
  );

export const imageHistory: Shape = list(
  object({
    Id: matching(/^(sha256:[0-9a-f]{64}|<missing>)$/),
    Created: int,
    CreatedBy: text,
    Tags: nullable(list(text)),
    Size: int,
    Comment: text,
  }),
);

export const deleted: Shape = list(object({}, { Untagged: text, Deleted: digest }));
export const imagesPruned: Shape = object({ ImagesDeleted: nullable(deleted), SpaceReclaimed: int });
export const buildPruned: Shape = object({ CachesDeleted: nullable(list(text)), SpaceReclaimed: int });
export const distribution: Shape = object({ Descriptor: descriptor, Platforms: list(platform) });
export const error: Shape = object({ message: text });

export const event: Shape = object(
  {
    Type: matching(/^(image|builder)$/),
    Action: text,
    Actor: object({ ID: text, Attributes: mapOf(text) }),
    scope: matching(/^local$/),
    time: int,
    timeNano: int,
  },
  { status: text, id: text },
);

export const diskUsage = (version: string): Shape =>
  object(
    {
      LayersSize: int,
      Images: list(imageSummary(version)),
      Containers: list(empty),
      Volumes: list(empty),
      BuildCache: list(
        object(
          {
            ID: text,
            Type: text,
            Description: text,
            InUse: bool,
            Shared: bool,
            Size: int,
            CreatedAt: time,
            LastUsedAt: nullable(time),
            UsageCount: int,
          },
          { Parents: nullable(list(text)), Parent: text },
        ),
      ),
    },
    { BuilderSize: int },
  );

export const version: Shape = object({
  Platform: object({ Name: text }),
  Version: text,
  ApiVersion: matching(/^1\.\d+$/),
  MinAPIVersion: matching(/^1\.\d+$/),
  Os: text,
  Arch: text,
  KernelVersion: text,
  GitCommit: text,
  GoVersion: text,
  BuildTime: text,
  Components: list(object({ Name: text, Version: text, Details: nullable(mapOf(text)) })),
});
