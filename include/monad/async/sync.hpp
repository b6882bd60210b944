#ifndef MONAD_ASYNC_SYNC_HPP
#define MONAD_ASYNC_SYNC_HPP

/** @file sync.hpp
 *  All that tasks wait for of each other, but channels and groups. */

#include "barrier.hpp"
#include "condition.hpp"
#include "event.hpp"
#include "mutex.hpp"
#include "rw_lock.hpp"
#include "semaphore.hpp"
#include "wait_group.hpp"

#endif
