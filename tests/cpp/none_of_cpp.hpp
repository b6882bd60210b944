#ifndef MONAD_ASYNC_TESTS_CPP_NONE_OF_CPP_HPP
#define MONAD_ASYNC_TESTS_CPP_NONE_OF_CPP_HPP

// What another language throws, through what it was called by.

#include <cstdlib>

#include <unwind.h>

[[noreturn]] inline void throw_none_of_cpp()
{
    auto *const thrown = new _Unwind_Exception{};
    thrown->exception_cleanup = [](_Unwind_Reason_Code, _Unwind_Exception *e) { delete e; };
    _Unwind_RaiseException(thrown);
    std::abort(); // Nobody catches it.
}

#endif
