/** The operations on the images of a store: pull, push, load, save, import, list, inspect, remove, tag. */
export { ensureLayer, storedLayers } from './blobs.ts';
export { imageHistory } from './history.ts';
export { importTar } from './import.ts';
export { inspectImage, inspectPlatform } from './inspect.ts';
export { type ImageSummary, imageSize, listImages } from './list.ts';
export { checkLoadedPlatform, loadImages } from './load.ts';
export { checkNewName, nameImage } from './name.ts';
export { pullImage } from './pull.ts';
export { type PushedLayer, pushImage } from './push.ts';
export { type Removed, removeImage, removeMany, removeNameless, removePlatforms } from './remove.ts';
export { saveImages } from './save.ts';
export { imageStatements } from './statements.ts';
export { tagImage } from './tag.ts';
export { toldNames } from './told-names.ts';
