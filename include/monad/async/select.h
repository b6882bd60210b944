#ifndef MONAD_ASYNC_SELECT_H
#define MONAD_ASYNC_SELECT_H

/** @file select.h
 *  Waits for several things at once: sends, receives, joins, operations, a time-out.
 *
 *  Exactly one happens. The others leave no trace: a receive that did not win took no value, a send
 *  that did not keeps its element. An operation that did not win stays as it is, in flight or with
 *  a completion: no byte is lost, as `monad_async_op_wait` or another select takes it.
 *
 *  A joined task may still wait in the queue of a pool. When it leaves the queue, all cases are
 *  looked at anew, and the caller goes to the end of the queues of channels that it waits in.
 *
 *  Of several that can happen at once the one with the lowest `priority` does; among those the
 *  first.
 *
 *  @snippet channels.c a select
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "channel.h"
#include "config.h"
#include "op.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** What a case waits for. */
enum monad_async_select_kind {
    monad_async_select_send = 1,       /**< To send `element` to a `monad_async_channel`. */
    monad_async_select_recv = 2,       /**< To receive `element` from one. */
    monad_async_select_local_send = 3, /**< To send to a `monad_async_local_channel`. */
    monad_async_select_local_recv = 4, /**< To receive from one. */
    monad_async_select_join = 5,       /**< For the exit of a task. */
    monad_async_select_op = 6,         /**< For a completion of an operation of the task. */
    monad_async_select_timeout = 7     /**< For a time to pass. */
};

/** One thing to wait for; made by the functions below. */
typedef struct monad_async_select_case {
    uint8_t kind;              /**< A `monad_async_select_kind`. */
    uint8_t priority;          /**< The lowest wins where several can happen; 0 at first. */
    uint8_t reserved_bytes[6]; /**< 0. */
    void *object;              /**< The channel, task or operation. */
    void *element;             /**< Of a channel. */
    uint64_t timeout_ns;       /**< Of a time-out. */
    /** Of the case that happened: 0 or `EPIPE`; what the task returned; the operation's. */
    monad_async_result result;
    uint64_t reserved[16]; /**< The library's. */
} monad_async_select_case;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_select_case, 176);
/** @endcond */

/** The most cases of a call. */
#define MONAD_ASYNC_SELECT_MAX 256

#if defined(__cplusplus)
    /* What is below is C. */
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wold-style-cast"
    #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #if !defined(__clang__)
        #pragma GCC diagnostic ignored "-Wuseless-cast"
    #endif
#endif

/** @cond no API
 *  @see monad_async_select() */
static inline monad_async_select_case monad_async_make_case(uint8_t kind, void *object,
                                                            void *element, uint64_t timeout_ns)
{
    monad_async_select_case c;
    unsigned i;
    c.kind = kind;
    c.priority = 0;
    for (i = 0; i < sizeof c.reserved_bytes; ++i) {
        c.reserved_bytes[i] = 0;
    }
    c.object = object;
    c.element = element;
    c.timeout_ns = timeout_ns;
    c.result = monad_async_make_success(0);
    for (i = 0; i < sizeof c.reserved / sizeof *c.reserved; ++i) {
        c.reserved[i] = 0;
    }
    return c;
}
/** @endcond */

/** A case that sends. ANY THREAD.
 *  @param channel to which
 *  @param element moved away if it is sent
 *  @return the case
 *  @see monad_async_select(), monad_async_channel_send() */
static inline monad_async_select_case monad_async_case_send(monad_async_channel *channel,
                                                            void *element)
{
    return monad_async_make_case(monad_async_select_send, channel, element, 0);
}

/** A case that receives. ANY THREAD.
 *  @param channel from which
 *  @param[out] element memory for one
 *  @return the case
 *  @see monad_async_select(), monad_async_channel_recv() */
static inline monad_async_select_case monad_async_case_recv(monad_async_channel *channel,
                                                            void *element)
{
    return monad_async_make_case(monad_async_select_recv, channel, element, 0);
}

/** A case that sends to a local channel. ANY THREAD.
 *  @param channel to which
 *  @param element moved away if it is sent
 *  @return the case
 *  @see monad_async_select(), monad_async_local_channel_send() */
static inline monad_async_select_case
monad_async_case_local_send(monad_async_local_channel *channel, void *element)
{
    return monad_async_make_case(monad_async_select_local_send, channel, element, 0);
}

/** A case that receives from a local channel. ANY THREAD.
 *  @param channel from which
 *  @param[out] element memory for one
 *  @return the case
 *  @see monad_async_select(), monad_async_local_channel_recv() */
static inline monad_async_select_case
monad_async_case_local_recv(monad_async_local_channel *channel, void *element)
{
    return monad_async_make_case(monad_async_select_local_recv, channel, element, 0);
}

/** A case that waits for the exit of a task, of any executor. ANY THREAD.
 *  @param task which; it must not be destroyed before the call returns
 *  @return the case
 *  @see monad_async_select(), monad_async_task_join() */
static inline monad_async_select_case monad_async_case_join(monad_async_task task)
{
    return monad_async_make_case(monad_async_select_join, task, NULL, 0);
}

/** A case that waits for a completion of an operation, and takes it. ANY THREAD.
 *  @param op in flight, of the calling task
 *  @return the case
 *  @see monad_async_select(), monad_async_op_begin() */
static inline monad_async_select_case monad_async_case_op(monad_async_op *op)
{
    return monad_async_make_case(monad_async_select_op, op, NULL, 0);
}

/** A case that waits for time to pass. ANY THREAD.
 *  @param timeout_ns nanoseconds from now on; 0: at once; `UINT64_MAX`: never
 *  @return the case
 *  @see monad_async_select() */
static inline monad_async_select_case monad_async_case_timeout(uint64_t timeout_ns)
{
    return monad_async_make_case(monad_async_select_timeout, NULL, NULL, timeout_ns);
}

/** Waits until one of the cases happens. ANY THREAD. SUSPENDS; a thread blocks. No malloc, no
 *  system call; O(cases), and O(cases squared) compares where they are not in order.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task, for
 *  channels and time-outs
 *  @param cases what to wait for; must stay in place until the call returns
 *  @param count how many, 1 to `MONAD_ASYNC_SELECT_MAX`
 *  @return the index of the case that happened, whose `result` says how
 *  @retval EINVAL NULL, no case or too many, an unknown kind, a task that was never attached, an
 *  operation of another task, a join or an operation of a thread; nothing happened
 *  @retval ENOENT an operation that is not in flight
 *  @retval EDEADLK a join of the caller; NULL for the task inside a task
 *  @retval ECANCELED, ETIME interrupted by a cancel or a scope: nothing happened
 *  @retval EPERM not the running task, another thread, or a local channel of another executor
 *  @see monad_async_case_send(), monad_async_case_recv(), monad_async_case_join(),
 *  monad_async_case_op(), monad_async_case_timeout() */
MONAD_ASYNC_API monad_async_result monad_async_select(monad_async_task task,
                                                      monad_async_select_case *cases,
                                                      size_t count) MONAD_ASYNC_NOEXCEPT;

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif

MONAD_ASYNC_EXTERN_C_END

#endif
