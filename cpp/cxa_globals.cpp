// Where the C++ runtime keeps this thread's exception state. The core saves and restores it around
// every switch of a task; it asks here, so that it names no symbol of the C++ runtime itself.

// Weak: a program may link the library without ever needing a C++ exception, and then there is
// nothing to save. Declared here, not through <cxxabi.h>, which declares it strong.
extern "C" void *__cxa_get_globals(void) noexcept __attribute__((weak));

// The calling thread's exception state, or null when no C++ runtime is in the process. It stays at
// this address for the life of the thread. Layout, by the Itanium C++ ABI (2.2.2): a pointer to the
// stack of caught exceptions, then the unsigned count of uncaught ones.
extern "C" void *monad_async_cxa_globals(void) noexcept
{
    return __cxa_get_globals != nullptr ? __cxa_get_globals() : nullptr;
}
