#ifndef MONAD_ASYNC_CONFIG_H
#define MONAD_ASYNC_CONFIG_H

/** @file config.h
 *  The version, and what the other headers need of the compiler. */

/** @name The version that a program is compiled with
 *  `monad_async_version` tells the one it runs with.
 *
 *  While the major version is 0, a program has to be compiled anew, and may have to be changed,
 *  when the minor version changes: the name of the shared library (`libmonad_async.so.0.1`) changes
 *  with it, and `find_package(monad_async 0.1)` accepts 0.1.x alone. From 1.0 on, both go by the
 *  major version.
 *  @{ */
#define MONAD_ASYNC_VERSION_MAJOR 0 /**< Changes when a program has to be compiled anew. */
#define MONAD_ASYNC_VERSION_MINOR 1 /**< Something was added; before 1.0, as the major. */
#define MONAD_ASYNC_VERSION_PATCH 0 /**< Changes when something is mended. */
/** @} */

/** @cond the rest is no API */
#if defined(__cplusplus)
    #define MONAD_ASYNC_EXTERN_C_BEGIN extern "C" {
    #define MONAD_ASYNC_EXTERN_C_END }
    #define MONAD_ASYNC_NOEXCEPT noexcept
    #define MONAD_ASYNC_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
    #define MONAD_ASYNC_EXTERN_C_BEGIN
    #define MONAD_ASYNC_EXTERN_C_END
    #define MONAD_ASYNC_NOEXCEPT
    #if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 202311L
        #define MONAD_ASYNC_STATIC_ASSERT(cond, text) static_assert(cond, text)
    #else
        #define MONAD_ASYNC_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
    #endif
#endif

#define MONAD_ASYNC_API __attribute__((visibility("default")))

/* Of a declaration that a later version will be without: a warning where it is used, which says
 * what to use instead. Off with MONAD_ASYNC_ALLOW_DEPRECATED. */
#if defined(MONAD_ASYNC_ALLOW_DEPRECATED)
    #define MONAD_ASYNC_DEPRECATED(text)
#else
    #define MONAD_ASYNC_DEPRECATED(text) __attribute__((deprecated(text)))
#endif

/* Of a struct: a function's result of this type must be used, or be cast to void. C before C23 has
 * no such attribute; gcc takes that of C23 after `__extension__`, clang has its own. */
#if defined(__cplusplus) || (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 202311L)
    #define MONAD_ASYNC_NODISCARD [[nodiscard]]
#elif defined(__clang__)
    #define MONAD_ASYNC_NODISCARD __attribute__((warn_unused_result))
#elif __GNUC__ >= 11
    #define MONAD_ASYNC_NODISCARD [[__nodiscard__]]
#else
    #define MONAD_ASYNC_NODISCARD
#endif

/* All members 0. */
#if defined(__cplusplus)
    #define MONAD_ASYNC_ALL_ZERO {}
#else
    #define MONAD_ASYNC_ALL_ZERO {0}
#endif

/* The library asserts the same of its own declarations: the two cannot drift apart. */
#define MONAD_ASYNC_ASSERT_OFFSET(type, field, offset)                                             \
    MONAD_ASYNC_STATIC_ASSERT(offsetof(type, field) == (offset), "layout of " #type)
#define MONAD_ASYNC_ASSERT_SIZE(type, size)                                                        \
    MONAD_ASYNC_STATIC_ASSERT(sizeof(type) == (size), "layout of " #type)

#if !defined(__linux__) || !defined(__LP64__)
    #error "monad_async needs 64-bit Linux"
#endif
#if defined(__has_feature)
    #if __has_feature(safe_stack)
        #error "monad_async cannot be used with -fsanitize=safe-stack: tasks would share one stack"
    #endif
#endif
/* Also the one declaration without which a unit of this header alone would not be ISO C. */
MONAD_ASYNC_STATIC_ASSERT(sizeof(void *) == 8, "monad_async needs 64-bit Linux");
/** @endcond */

#endif
