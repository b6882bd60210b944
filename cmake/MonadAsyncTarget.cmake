# What cargo builds for. Refuses here, with the remedy, what would fail deep inside a crate's build.
#
# Sets MONAD_ASYNC_RUST_TARGET when cross-compiling, unless the user chose it.
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SIZEOF_VOID_P EQUAL 8)
  message(FATAL_ERROR "monad_async needs 64-bit Linux, and this build is for ${CMAKE_SYSTEM_NAME}")
endif()

find_program(MONAD_ASYNC_CARGO cargo HINTS "$ENV{HOME}/.cargo/bin" REQUIRED
  DOC "cargo, needed only to build")

# From the source directory: a toolchain file or an override there is what the build will use.
file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.toml" wanted REGEX "^rust-version = " LIMIT_COUNT 1)
string(REGEX REPLACE "^.*\"(.*)\"$" "\\1" wanted "${wanted}")
execute_process(COMMAND "${MONAD_ASYNC_CARGO}" --version
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" OUTPUT_VARIABLE found ERROR_VARIABLE found)
if(NOT found MATCHES "cargo ([0-9]+\\.[0-9]+\\.[0-9]+)" OR CMAKE_MATCH_1 VERSION_LESS wanted)
  string(STRIP "${found}" found)
  message(FATAL_ERROR "monad_async needs Rust ${wanted} or newer, and ${MONAD_ASYNC_CARGO} says "
    "\"${found}\". To get it: rustup update stable. Another cargo: -DMONAD_ASYNC_CARGO=<path>.")
endif()

# The compiler that cargo would run: a package of its own in distributions, and not always of one age.
if(DEFINED ENV{RUSTC})
  set(MONAD_ASYNC_RUSTC "$ENV{RUSTC}" CACHE FILEPATH "rustc, asked for its version and targets")
else()
  get_filename_component(rustc "${MONAD_ASYNC_CARGO}" DIRECTORY)
  find_program(MONAD_ASYNC_RUSTC rustc HINTS "${rustc}" DOC "rustc, asked for its version and targets")
endif()
mark_as_advanced(MONAD_ASYNC_RUSTC)
if(MONAD_ASYNC_RUSTC)
  execute_process(COMMAND "${MONAD_ASYNC_RUSTC}" --version
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" OUTPUT_VARIABLE found ERROR_VARIABLE found)
  if(found MATCHES "rustc ([0-9]+\\.[0-9]+\\.[0-9]+)" AND CMAKE_MATCH_1 VERSION_LESS wanted)
    string(STRIP "${found}" found)
    message(FATAL_ERROR "monad_async needs Rust ${wanted} or newer, and ${MONAD_ASYNC_RUSTC} says "
      "\"${found}\". To get it: rustup update stable. Another rustc: RUSTC=<path> in the environment.")
  endif()
endif()

if(CMAKE_CROSSCOMPILING AND NOT MONAD_ASYNC_RUST_TARGET)
  set(machine "${CMAKE_CXX_COMPILER_TARGET}")
  if(NOT machine)
    execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -dumpmachine OUTPUT_VARIABLE machine
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  if(machine MATCHES "^(x86_64|aarch64)-([a-z0-9_]+-)?linux-(gnu|musl)$")
    set(MONAD_ASYNC_RUST_TARGET "${CMAKE_MATCH_1}-unknown-linux-${CMAKE_MATCH_3}")
    message(STATUS "monad_async: Rust target ${MONAD_ASYNC_RUST_TARGET}")
  else()
    message(FATAL_ERROR "monad_async: cross-compiling for ${CMAKE_SYSTEM_PROCESSOR} with a compiler "
      "for \"${machine}\", and no Rust target is known for that. Name it: "
      "-DMONAD_ASYNC_RUST_TARGET=<triple>, such as aarch64-unknown-linux-gnu.")
  endif()
endif()

if(MONAD_ASYNC_RUST_TARGET)
  # Without a rustc that answers, the build will tell.
  if(MONAD_ASYNC_RUSTC)
    execute_process(
      COMMAND "${MONAD_ASYNC_RUSTC}" --print target-libdir --target "${MONAD_ASYNC_RUST_TARGET}"
      WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" OUTPUT_VARIABLE target_libdir
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(NOT target_libdir OR NOT IS_DIRECTORY "${target_libdir}")
      message(FATAL_ERROR "monad_async: Rust cannot compile for the target "
        "${MONAD_ASYNC_RUST_TARGET} (MONAD_ASYNC_RUST_TARGET) here. If the name is right: "
        "rustup target add ${MONAD_ASYNC_RUST_TARGET}")
    endif()
  endif()
endif()
