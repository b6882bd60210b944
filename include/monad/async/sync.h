#ifndef MONAD_ASYNC_SYNC_H
#define MONAD_ASYNC_SYNC_H

/** @file sync.h
 *  All that tasks wait for of each other, but channels and groups.
 *
 *  Every wait is cancellable, obeys scopes, and makes no system call and no malloc. Who waits is
 *  served by the CPU priority that it had when it began to wait, then in order; a hand-over is
 *  direct: who is woken has already what it waited for. */

#include "barrier.h"
#include "condition.h"
#include "event.h"
#include "mutex.h"
#include "rw_lock.h"
#include "semaphore.h"
#include "wait_group.h"

#endif
