#ifndef MONAD_ASYNC_CONFIG_H
#define MONAD_ASYNC_CONFIG_H

/** @file config.h
 *  Linkage, visibility and version macros that the other headers share. */

#define MONAD_ASYNC_VERSION_MAJOR 0
#define MONAD_ASYNC_VERSION_MINOR 1
#define MONAD_ASYNC_VERSION_PATCH 0

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

#if !defined(__linux__) || !defined(__LP64__)
    #error "monad_async needs 64-bit Linux"
#endif

#endif
