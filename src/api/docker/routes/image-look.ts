/** `GET /images/{name}/json` and `/history`; and `GET /images/search`, which is refused. */
import { referenceOf } from '../../../distribution/index.ts';
import { imageHistory, inspectImage } from '../../../images/index.ts';
import { familiarName } from '../../../oci/index.ts';
import { apiError } from '../http/errors.ts';
import { readPlatform } from '../http/platform.ts';
import type { Call, Route } from '../http/route.ts';
import { isBefore } from '../http/version.ts';
import { manifestsOf } from '../manifests.ts';
import { namedImage } from '../named-image.ts';

export const imageLookRoutes: Route[] = [
  { method: 'GET', path: '/images/search', scopes: ['images:read'], handle: search },
  { method: 'GET', path: '/images/*', suffix: '/json', scopes: ['images:read'], handle: inspect },
  { method: 'GET', path: '/images/*', suffix: '/history', scopes: ['images:read'], handle: history },
];

async function inspect({ host, name, query, version }: Call) {
  const { store } = host.engine;
  const platform = isBefore(version, '1.49') ? undefined : readPlatform(query.text('platform'));
  const manifests = query.bool('manifests') && !isBefore(version, '1.48');
  if (manifests && platform !== undefined) {
    throw apiError('invalid', 'conflicting options: manifests and platform options cannot both be set');
  }
  const found = await namedImage(store, name, platform);
  const { Created, Config, Descriptor, ...rest } = await inspectImage(store, name, found.image);
  const old = isBefore(version, '1.44');
  return {
    json: {
      ...rest,
      Config: { ...(isBefore(version, '1.50') ? legacyConfig : alwaysInConfig), ...Config },
      ...(Created === '' && !old ? {} : { Created: Created === '' ? '0001-01-01T00:00:00Z' : Created }),
      ...(old ? { VirtualSize: rest.Size } : {}),
      ...(isBefore(version, '1.45')
        ? { Container: '', ContainerConfig: { ...legacyConfig, Cmd: null, Env: null } }
        : {}),
      ...(isBefore(version, '1.48')
        ? {}
        : { Descriptor: platform === undefined ? Descriptor : found.image.manifest }),
      ...(manifests
        ? { Manifests: await manifestsOf(store, { images: found.images, target: found.record.target }) }
        : {}),
    },
  };
}

/** The fields of an image's config that are there even when the image does not set them. */
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
  const { image, records } = await namedImage(store, name, platform);
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

function search(): never {
  throw apiError(
    'unsupported',
    'Drydock does not search registries',
    'Look for images on the web page of the registry, such as https://hub.docker.com/search.',
  );
}
