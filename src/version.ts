/** Version of this package; a test holds it equal to package.json's. */
export const version = '0.1.0';

/**
 * The BuildKit whose API and requests ours are: clients turn features on and off by it, such as several exporters (0.13)
 * and history, and servers of files may answer by it.
 */
export const buildkitApi = 'v0.19.0';

/** The version of the Dockerfile language that the built-in frontend reads, as of docker/dockerfile's images. */
export const dockerfileVersion = '1.26.0';
