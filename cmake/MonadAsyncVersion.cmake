# Reads the version from config.h, the one place it is written for C, C++ and CMake. Cargo.toml has
# its own copy; the mismatch is an error here, before anything is built.
set(config_h "${CMAKE_CURRENT_LIST_DIR}/../include/monad/async/config.h")
set(cargo_toml "${CMAKE_CURRENT_LIST_DIR}/../Cargo.toml")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${config_h}" "${cargo_toml}")

file(READ "${config_h}" text)
set(MONAD_ASYNC_VERSION "")
foreach(part MAJOR MINOR PATCH)
  if(NOT text MATCHES "#define MONAD_ASYNC_VERSION_${part} ([0-9]+)")
    message(FATAL_ERROR "no MONAD_ASYNC_VERSION_${part} in ${config_h}")
  endif()
  list(APPEND MONAD_ASYNC_VERSION ${CMAKE_MATCH_1})
endforeach()
list(JOIN MONAD_ASYNC_VERSION "." MONAD_ASYNC_VERSION)

file(STRINGS "${cargo_toml}" text REGEX "^version = " LIMIT_COUNT 1)
if(NOT text STREQUAL "version = \"${MONAD_ASYNC_VERSION}\"")
  message(FATAL_ERROR "config.h says ${MONAD_ASYNC_VERSION}, Cargo.toml says ${text}")
endif()

# The rule of compatibility, which the SONAME, the symbols' version and find_package share: while the
# major version is 0, versions of one minor version; from 1.0 on, versions of one major version.
if(MONAD_ASYNC_VERSION MATCHES "^0\\.([0-9]+)")
  set(MONAD_ASYNC_COMPATIBILITY "0.${CMAKE_MATCH_1}")
  set(MONAD_ASYNC_COMPATIBLE_WITH SameMinorVersion)
else()
  string(REGEX REPLACE "\\..*" "" MONAD_ASYNC_COMPATIBILITY "${MONAD_ASYNC_VERSION}")
  set(MONAD_ASYNC_COMPATIBLE_WITH SameMajorVersion)
endif()
