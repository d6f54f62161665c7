/**
 * Tools for concurrent work: a limiter, single flights, queues by key, promises that a signal ends. Each is held by its
 * owner.
 */
export { Arrivals } from './arrivals.ts';
export { drained } from './drained.ts';
export { inParallel } from './in-parallel.ts';
export { KeyedQueue } from './keyed-queue.ts';
export { Limiter } from './limiter.ts';
export { Meeting } from './meeting.ts';
export { noticeStall } from './notice-stall.ts';
export { orAbort } from './or-abort.ts';
export { Pace } from './pace.ts';
export { pause } from './pause.ts';
export { SingleFlight } from './single-flight.ts';
export { Waiting } from './waiting.ts';
