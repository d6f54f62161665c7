/** System calls, names as bytes, files of trees, owners, user namespaces, starting programs. */

export { addLine } from './add-line.ts';
export { type Child, startProgram } from './child.ts';
export { checkOwner, fchownSync, lchownSync } from './chown.ts';
export { sendDatagram } from './datagram.ts';
export { asFileOwner } from './file-owner.ts';
export {
  chmodSync,
  copyFileSync,
  filesystemSync,
  linkSync,
  listNames,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readEntriesSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from './files.ts';
export {
  closeOnExec,
  copyFileRangeAt,
  futimesNs,
  lgetxattr,
  llistxattr,
  lremovexattr,
  lsetxattr,
  lutimesNs,
  MNT_DETACH,
  MNT_FORCE,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  major,
  makedev,
  minor,
  mknod,
  mknodInTree,
  mount,
  openLock,
  openPty,
  peerCredentials,
  peerGroups,
  pipe,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  seekData,
  seekHole,
  setTerminalSize,
  tryLock,
  tryLockShared,
  umount,
  waitForLock,
} from './libc.ts';
export { ctimeNsWord, ctimeWord, diskUse, HostStat, lstat, lstatInto, modeWord, statWords } from './lstat.ts';
export { forgetProgram, limitArenas, ProgramPages, trimMemory, trimMemoryAside } from './memory.ts';
export {
  attachMount,
  changeFolder,
  cloneMount,
  inNewMountNamespace,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  mapMount,
  restrictMount,
} from './mounts.ts';
export { bytesOf, compareNames, nameLength, nameOf, nameOfEscaped, rawName } from './names.ts';
export { interfaceIndex, Netlink, netlinkAttributes, readNetlinkAttributes } from './netlink.ts';
export {
  enterNewNetworkNamespace,
  inNetworkNamespace,
  inNewNetworkNamespace,
  listenOn,
  openNetworkFile,
} from './network-namespace.ts';
export { Nursery } from './nursery.ts';
export { closeFd, closeFdAside, openIn, openPath, openReal, openRealFile, openRoot } from './open-in.ts';
export { readOrdinary, streamOrdinary } from './ordinary-file.ts';
export { closeToOthers, ownDatabase, ownFolder } from './own.ts';
export { readAll } from './read-all.ts';
export { readText } from './read-text.ts';
export { removeTree } from './remove-tree.ts';
export { rootlessProblem } from './rootless-problem.ts';
export { socketPair } from './socket-pair.ts';
export { markTop } from './top-folder.ts';
export { cacheFolder, configFolder, dataFolder, homeFolder, runtimeFolder } from './user-folders.ts';
export {
  deviceXattr,
  idInside,
  idOutside,
  inUserNamespace,
  overlayXattr,
  ownIdMaps,
  rootlessUser,
} from './user-namespace.ts';
export { writeAll } from './write-all.ts';
