# What a build may choose. Besides these: CMAKE_BUILD_TYPE (Debug builds the Rust side with assertions
# and little optimised, everything else optimised) and the usual CMAKE_INSTALL_* directories.

string(COMPARE EQUAL "${CMAKE_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}" top_level)

option(MONAD_ASYNC_BUILD_TESTS "Build the C and C++ tests (needs GoogleTest)" OFF)
option(MONAD_ASYNC_INSTALL "Define the install rules" ${top_level})
option(MONAD_ASYNC_ASAN "Tell AddressSanitizer about stack switches: for consumers built with it" OFF)
option(MONAD_ASYNC_TSAN "Tell ThreadSanitizer about stack switches and what orders memory: for consumers built with it" OFF)
if(MONAD_ASYNC_ASAN AND MONAD_ASYNC_TSAN)
  message(FATAL_ERROR "MONAD_ASYNC_ASAN and MONAD_ASYNC_TSAN: a program has one of the sanitizers")
endif()
set(monad_async_sanitizer "")
set(monad_async_definitions "") # Of who includes the headers.
if(MONAD_ASYNC_ASAN)
  set(monad_async_sanitizer -fsanitize=address)
elseif(MONAD_ASYNC_TSAN)
  set(monad_async_sanitizer -fsanitize=thread)
  set(monad_async_definitions MONAD_ASYNC_TELLS_TSAN)
endif()
option(MONAD_ASYNC_SHARED "monad::async in this build tree is the shared library"
  "${BUILD_SHARED_LIBS}")
set(MONAD_ASYNC_LIBRARIES "static;shared" CACHE STRING "Which libraries are built and installed")
foreach(library ${MONAD_ASYNC_LIBRARIES})
  if(NOT library MATCHES "^(static|shared)$")
    message(FATAL_ERROR "MONAD_ASYNC_LIBRARIES: static, shared or static;shared, not ${library}")
  endif()
endforeach()
if(NOT MONAD_ASYNC_LIBRARIES)
  message(FATAL_ERROR "MONAD_ASYNC_LIBRARIES: static, shared or static;shared, not nothing")
endif()
option(MONAD_ASYNC_PACKAGES "For cpack: Debian packages (configure with CMAKE_INSTALL_PREFIX=/usr)" OFF)
option(MONAD_ASYNC_REMAP_PATHS "No directory of this machine in what is built, nor in its debug information" OFF)
set(MONAD_ASYNC_RUST_TARGET "" CACHE STRING "Rust target triple, when cross-compiling")
set(MONAD_ASYNC_CARGO_FLAGS "" CACHE STRING "More flags for cargo, such as --offline")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND top_level)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
# compile_commands.json, for clangd and clang-tidy: of the tests, of cpp/ and of what cxx generates.
if(top_level)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()
