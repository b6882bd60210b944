# Included by the preset `edit` before the languages are looked for: clang where it is installed, which compiles
# unoptimised C++ in less than two thirds of gcc's time, and its linker. What has been chosen already stays.

find_program(monad_async_edit_clang clang)
find_program(monad_async_edit_clangxx clang++)
find_program(monad_async_edit_lld ld.lld)
if(monad_async_edit_clang AND monad_async_edit_clangxx AND NOT CMAKE_C_COMPILER AND NOT CMAKE_CXX_COMPILER
    AND "$ENV{CC}$ENV{CXX}" STREQUAL "")
  set(CMAKE_C_COMPILER "${monad_async_edit_clang}")
  set(CMAKE_CXX_COMPILER "${monad_async_edit_clangxx}")
  if(monad_async_edit_lld)
    set(CMAKE_EXE_LINKER_FLAGS_INIT "-fuse-ld=lld")
  endif()
endif()
