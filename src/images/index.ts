/** The operations on the images of a store: pull, push, load, save, import, list, inspect, remove, tag. */
export { ensureLayer, storedLayers } from './blobs.ts';
export { filterImages, imageFilters } from './filter.ts';
export { imageHistory, namedHistory } from './history.ts';
export { ImageFiles } from './image-files.ts';
export { importTar } from './import.ts';
export { inspectImage, inspectPlatform } from './inspect.ts';
export { knownLayers } from './known-layers.ts';
export { type ImageSummary, imageSize, listImages } from './list.ts';
export { type ListedImage, listedImages } from './listed.ts';
export { checkLoadedPlatforms, loadImages } from './load.ts';
export { checkNewName, nameImage } from './name.ts';
export { pruneImageFilters, pruneImages } from './prune.ts';
export { pullImage } from './pull.ts';
export { type PushedLayer, pushImage } from './push.ts';
export { checkRemoval, removeImage, removeNameless, removePlatforms } from './remove.ts';
export { saveImages } from './save.ts';
export { imageStatements } from './statements.ts';
export { tagImage } from './tag.ts';
