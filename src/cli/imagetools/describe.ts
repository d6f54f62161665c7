/** What `imagetools inspect` prints: text, or a template's fields by the names of buildx. Pure. */
import type { ImageFacts, PlatformFacts } from '../../imagetools/index.ts';
import type { Descriptor, ImageConfig, Platform } from '../../oci/index.ts';
import { formatPlatform } from '../../oci/index.ts';
import { jsonOf, mapsOf, StringMap, Struct, template, type Value } from '../../templates/index.ts';

/** The image as text, a fact a line. */
export function factsText(name: string, { descriptor, index }: ImageFacts): string {
  const lines = [
    `Name:      ${name}`,
    `MediaType: ${descriptor.mediaType}`,
    `Digest:    ${descriptor.digest}`,
    ...annotationLines('', index?.annotations),
  ];
  const repository = name.replace(/@.*$/, '');
  if (index !== undefined) lines.push('', 'Manifests:');
  for (const [i, { digest, mediaType, platform, annotations, artifactType }] of (
    index?.manifests ?? []
  ).entries()) {
    if (i > 0) lines.push('');
    lines.push(`  Name:        ${repository}@${digest}`, `  MediaType:   ${mediaType}`);
    if (artifactType !== undefined) lines.push(`  ArtifactType: ${artifactType}`);
    if (platform !== undefined) lines.push(`  Platform:    ${formatPlatform(platform)}`);
    lines.push(...annotationLines('  ', annotations));
  }
  return lines.map((line) => `${line}\n`).join('');
}

function annotationLines(indent: string, annotations: Readonly<Record<string, string>> = {}): string[] {
  const names = Object.keys(annotations).sort();
  const width = Math.max(0, ...names.map((name) => name.length)) + 2;
  const lines = names.map((name) => `${indent}  ${`${name}:`.padEnd(width)}${annotations[name]}`);
  return lines.length === 0 ? [] : [`${indent}Annotations:`, ...lines];
}

/** Whether a template has no use for configs and statements. */
export function isPlain(format: string): boolean {
  return (
    /^\{\{\s*\.Manifest\s*\}\}$/.test(format) ||
    !/\.(?:Image|Provenance|SBOM)\b|\$|json\s+\.\s*\}/.test(format)
  );
}

/**
 * The image as a template says. There are `.Name`, `.Manifest`, `.Image`, `.Provenance` and `.SBOM`; of an image of
 * several platforms the last three are maps by platform. `json` writes with indentation. Throws `invalid`.
 */
export function factsAs(format: string, name: string, facts: ImageFacts): string {
  if (/^\{\{\s*\.Manifest\s*\}\}$/.test(format)) return factsText(name, facts);
  const fill = template(format, { json: ([value]) => JSON.stringify(jsonOf(value), undefined, 2) });
  const by = (make: (of: PlatformFacts) => Value): Value => {
    const [only] = facts.platforms;
    if (facts.platforms.length === 1 && only !== undefined) return make(only);
    return new Map(facts.platforms.map((each) => [each.platform, make(each)]));
  };
  const none: PlatformFacts | undefined = facts.platforms.length > 0 ? undefined : nothing;
  const image = by(({ config }) => imageStruct(config));
  const provenance = none === undefined ? by(provenanceStruct) : provenanceStruct(none);
  const sbom = none === undefined ? by(sbomStruct) : sbomStruct(none);
  const fields = {
    Name: name,
    Manifest: manifestStruct(facts),
    Image: image,
    Provenance: provenance,
    SBOM: sbom,
  };
  const json: Record<string, unknown> = { name, manifest: jsonOf(fields.Manifest), image: jsonOf(image) };
  if (facts.platforms.some((each) => each.provenance !== undefined)) json.provenance = jsonOf(provenance);
  if (facts.platforms.some(({ sboms }) => sboms.length > 0)) json.sbom = jsonOf(sbom);
  return `${fill(new Struct(fields, json))}\n`;
}

const nothing = { platform: '', sboms: [] } as unknown as PlatformFacts;

function provenanceStruct({ provenance }: PlatformFacts): Struct {
  return new Struct({ SLSA: mapsOf(provenance) }, provenance === undefined ? {} : { SLSA: provenance });
}

function sbomStruct({ sboms: [first, ...others] }: PlatformFacts): Struct {
  const json = {
    ...(first !== undefined && { SPDX: first }),
    ...(others.length > 0 && { AdditionalSPDXs: others }),
  };
  return new Struct({ SPDX: mapsOf(first), AdditionalSPDXs: others.map(mapsOf) }, json);
}

function manifestStruct({ descriptor, index }: ImageFacts): Struct {
  const { mediaType, digest, size } = descriptor;
  if (index === undefined) return descriptorStruct(descriptor);
  const { manifests, annotations } = index;
  const json = { schemaVersion: 2, mediaType, digest, size, manifests, ...(annotations && { annotations }) };
  return new Struct(
    {
      SchemaVersion: 2,
      MediaType: mediaType,
      Digest: digest,
      Size: size,
      Manifests: manifests.map(descriptorStruct),
      Annotations: textMap(annotations),
    },
    json,
  );
}

function descriptorStruct(descriptor: Descriptor): Struct {
  const { mediaType, digest, size, urls, annotations, platform, artifactType } = descriptor;
  return new Struct(
    {
      MediaType: mediaType,
      Digest: digest,
      Size: size,
      URLs: urls ?? [],
      Annotations: textMap(annotations),
      Platform: platform === undefined ? null : platformStruct(platform),
      ArtifactType: artifactType ?? '',
    },
    descriptor,
  );
}

function platformStruct(platform: Platform): Struct {
  const { architecture, os, variant } = platform;
  return new Struct(
    {
      Architecture: architecture,
      OS: os,
      OSVersion: platform['os.version'] ?? '',
      OSFeatures: platform['os.features'] ?? [],
      Variant: variant ?? '',
    },
    platform,
  );
}

function textMap(texts: Readonly<Record<string, string>> | null = {}): StringMap {
  return new StringMap(Object.entries(texts ?? {}));
}

function imageStruct(image: ImageConfig): Struct {
  const { config = {} } = image;
  return new Struct(
    {
      Created: image.created ?? '',
      Author: image.author ?? '',
      Architecture: image.architecture,
      Variant: image.variant ?? '',
      OS: image.os,
      OSVersion: image['os.version'] ?? '',
      OSFeatures: image['os.features'] ?? [],
      Config: new Struct(
        {
          User: config.User ?? '',
          ExposedPorts: mapsOf(config.ExposedPorts ?? {}),
          Env: config.Env ?? [],
          Entrypoint: config.Entrypoint ?? [],
          Cmd: config.Cmd ?? [],
          Volumes: mapsOf(config.Volumes ?? {}),
          WorkingDir: config.WorkingDir ?? '',
          Labels: textMap(config.Labels),
          StopSignal: config.StopSignal ?? '',
          ArgsEscaped: config.ArgsEscaped ?? false,
        },
        config,
      ),
      RootFS: new Struct({ Type: image.rootfs.type, DiffIDs: image.rootfs.diff_ids }, image.rootfs),
      History: (image.history ?? []).map(
        (step) =>
          new Struct(
            {
              Created: step.created ?? '',
              CreatedBy: step.created_by ?? '',
              Author: step.author ?? '',
              Comment: step.comment ?? '',
              EmptyLayer: step.empty_layer ?? false,
            },
            step,
          ),
      ),
    },
    image,
  );
}
