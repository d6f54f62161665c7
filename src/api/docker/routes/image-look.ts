/** `GET /images/{name}/json`, `/history` and `/attestations`; and `GET /images/search`, which is refused. */
import { reachOf } from '../../../auth/index.ts';
import { findImageFor, referenceOf, storedImages } from '../../../distribution/index.ts';
import { imageHistory, imageStatements, inspectImage } from '../../../images/index.ts';
import { familiarName } from '../../../oci/index.ts';
import { apiError } from '../http/errors.ts';
import { readPlatform } from '../http/platform.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { Identities } from '../identity.ts';
import { manifestsOf } from '../manifests.ts';

export const imageLookRoutes: Route[] = [
  { method: 'GET', path: '/images/search', scopes: ['images:read'], handle: search },
  { method: 'GET', path: '/images/*', suffix: '/json', scopes: ['images:read'], handle: inspect },
  { method: 'GET', path: '/images/*', suffix: '/history', scopes: ['images:read'], handle: history },
  {
    method: 'GET',
    path: '/images/*',
    suffix: '/attestations',
    scopes: ['images:read'],
    handle: attestations,
  },
];

async function inspect({ host, name, query, version, authority }: Call) {
  const { store } = host.engine;
  const platform = isBefore(version, '1.49') ? undefined : readPlatform(query.text('platform'));
  const manifests = query.bool('manifests') && !isBefore(version, '1.48');
  if (manifests && platform !== undefined) {
    throw apiError('invalid', 'conflicting options: manifests and platform options cannot both be set');
  }
  const found = await findImageFor(store, name, platform);
  const { target } = found.record;
  const { Created, Config, Descriptor, ...rest } = await inspectImage(store, name, found.image);
  const old = isBefore(version, '1.44');
  const identity = isBefore(version, '1.53')
    ? undefined
    : await new Identities(host, reachOf(authority)).of(found.image.manifest, found.image.id, target);
  return {
    json: {
      ...(isBefore(version, '1.52') ? rest : without(rest, ['Parent', 'Comment', 'DockerVersion', 'Author'])),
      Config: isBefore(version, '1.52')
        ? { ...(isBefore(version, '1.50') ? legacyConfig : alwaysInConfig), ...Config }
        : without({ ...Config }, Object.keys(alwaysInConfig)),
      ...(identity === undefined ? {} : { Identity: identity }),
      ...(Created === '' && !old ? {} : { Created: Created === '' ? '0001-01-01T00:00:00Z' : Created }),
      ...(old ? { VirtualSize: rest.Size } : {}),
      ...(isBefore(version, '1.45')
        ? { Container: '', ContainerConfig: { ...legacyConfig, Cmd: null, Env: null } }
        : {}),
      ...(isBefore(version, '1.48')
        ? {}
        : { Descriptor: platform === undefined ? Descriptor : found.image.manifest }),
      ...(manifests
        ? {
            Manifests: await manifestsOf(store, {
              images: await storedImages(store, found.record.name, target),
              target,
            }),
          }
        : {}),
    },
  };
}

/** An object without those of its fields that are empty. */
function without(value: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  const isEmpty = (each: unknown) =>
    each === null ||
    each === undefined ||
    each === '' ||
    (typeof each === 'object' && Object.keys(each).length === 0);
  return Object.fromEntries(
    Object.entries(value).filter(([name, each]) => !names.includes(name) || !isEmpty(each)),
  );
}

/** The fields of an image's config that are there, before 1.52, even when the image does not set them. */
const alwaysInConfig = {
  Cmd: null,
  Entrypoint: null,
  Env: null,
  Labels: null,
  OnBuild: null,
  User: '',
  Volumes: null,
  WorkingDir: '',
};

/** The fields of a container that the config carried before 1.50, always with these values. */
const legacyConfig = {
  ...alwaysInConfig,
  Hostname: '',
  Domainname: '',
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Image: '',
};

async function history({ host, name, query, version }: Call) {
  const { store } = host.engine;
  const platform = isBefore(version, '1.48') ? undefined : readPlatform(query.text('platform'));
  const { image, records } = await findImageFor(store, name, platform);
  const tags = records.filter(({ name }) => referenceOf(name)?.tag !== undefined);
  const steps = await imageHistory(store, image);
  const json = steps.map(({ created, createdBy, comment, size }, i) => ({
    Id: i === 0 ? image.id : '<missing>',
    Created: created === undefined ? 0 : Math.floor(created / 1000),
    CreatedBy: createdBy,
    Tags: i === 0 && tags.length > 0 ? tags.map(({ name }) => familiarName(name)) : null,
    Size: size,
    Comment: comment,
  }));
  return { json };
}

/** Lists what is stated of an image, with the statements themselves where they are asked for. */
async function attestations({ host, name, query, response, signal }: Call): Promise<undefined> {
  const [platform = '', ...more] = query.all('platform');
  if (more.length > 0) throw apiError('invalid', 'only one platform value is currently supported');
  const types = query
    .all('type')
    .map((type) => type.trim())
    .filter((type) => type !== '');
  const found = await imageStatements(host.engine.store, name, { platform: readPlatform(platform), types });
  const isWhole = query.bool('statement');
  // The first one is read before the answer begins: an error has a status of its own then.
  let next = isWhole ? await found[0]?.read(signal) : undefined;
  response.setHeader('content-type', 'application/json');
  for (const [i, { descriptor, predicateType }] of found.entries()) {
    const entry = JSON.stringify({ Descriptor: descriptor, PredicateType: predicateType });
    response.write(
      `${i === 0 ? '[' : ','}${next === undefined ? entry : `${entry.slice(0, -1)},"Statement":`}`,
    );
    if (next === undefined) continue;
    response.write(next);
    response.write('}');
    next = await found[i + 1]?.read(signal);
  }
  response.end(found.length === 0 ? '[]\n' : ']\n');
}

function search(): never {
  throw apiError(
    'unsupported',
    'Drydock does not search registries',
    'Look for images on the web page of the registry, such as https://hub.docker.com/search.',
  );
}
