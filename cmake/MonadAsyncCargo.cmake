# Drives cargo, compiles the C++ side, and turns the two archives into one relocatable object whose
# only global symbols are those of abi.list: two Rust archives in one program define the same 150
# symbols otherwise.
#
# Sets monad_async_object, the path of that object.
set(cargo_profile release)
set(cargo_profile_dir release)
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(cargo_profile dev)
  set(cargo_profile_dir debug)
endif()

set(cargo_flags --locked --profile ${cargo_profile})
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  # Without any optimisation a frame has room for all that was ever inlined into it: 8 KiB at a launch, as
  # much in a call that suspends, and tasks with the smallest stacks, 16 KiB, overflow.
  list(APPEND cargo_flags --config profile.dev.opt-level=1)
endif()
# The library's C++ is compiled with the project's CMAKE_CXX_FLAGS, except for what it cannot do with:
# bitcode, which `ld.bfd -r` does not read; no exceptions, another language version; and errors out of
# warnings that we do not know. -w never: warnings are ours to see.
set(cxx_flags -fno-lto -fexceptions -std=c++17 -Wno-error)
if(MONAD_ASYNC_ASAN)
  list(APPEND cargo_flags --features asan)
  list(APPEND cxx_flags -fsanitize=address)
elseif(MONAD_ASYNC_TSAN)
  list(APPEND cargo_flags --features tsan)
  list(APPEND cxx_flags -fsanitize=thread -D${monad_async_definitions})
endif()
# What the crate cxx compiles of its own. In a shell's words, as CMake's flags are.
list(JOIN cxx_flags " " cargo_cxxflags)
string(PREPEND cargo_cxxflags "${CMAKE_CXX_FLAGS} ")
if(MONAD_ASYNC_REMAP_PATHS)
  # The same names wherever it is built. The last that fits counts: what lies inside another, later.
  set(cargo_home "$ENV{CARGO_HOME}")
  if(NOT cargo_home)
    set(cargo_home "$ENV{HOME}/.cargo")
  endif()
  set(source_name "/usr/src/monad_async-${MONAD_ASYNC_VERSION}")
  set(remapped "")
  foreach(pair "${cargo_home}=/usr/src/cargo" "${CMAKE_CURRENT_SOURCE_DIR}=${source_name}"
      "${CMAKE_CURRENT_BINARY_DIR}=${source_name}/build")
    list(APPEND remapped "\"--remap-path-prefix=${pair}\"")
    list(APPEND cxx_flags "-ffile-prefix-map=${pair}")
    string(APPEND cargo_cxxflags " '-ffile-prefix-map=${pair}'")
  endforeach()
  list(JOIN remapped "," remapped)
  # Added to what cargo's configuration has there. RUSTFLAGS has precedence over it: who sets that,
  # as distributions do, has to say it there.
  list(APPEND cargo_flags --config "build.rustflags=[${remapped}]")
  # Optimised in several pieces, which is which depends on the directory.
  list(APPEND cargo_flags --config profile.dev.codegen-units=1)
endif()
set(cargo_target_dir "${CMAKE_CURRENT_BINARY_DIR}/cargo")
set(cargo_out_dir "${cargo_target_dir}/${cargo_profile_dir}")
if(MONAD_ASYNC_RUST_TARGET)
  list(APPEND cargo_flags --target ${MONAD_ASYNC_RUST_TARGET})
  set(cargo_out_dir "${cargo_target_dir}/${MONAD_ASYNC_RUST_TARGET}/${cargo_profile_dir}")
endif()
separate_arguments(cargo_more_flags UNIX_COMMAND "${MONAD_ASYNC_CARGO_FLAGS}")

set(archive "${cargo_out_dir}/libmonad_async.a")
# What cxx generates of src/bridge.rs, copied only where it differs.
set(glue "${CMAKE_CURRENT_BINARY_DIR}/glue/monad-async/src")
file(MAKE_DIRECTORY "${glue}")
add_custom_command(
  OUTPUT "${archive}"
  BYPRODUCTS "${glue}/bridge.rs.cc" "${glue}/bridge.rs.h"
  # MAKEFLAGS: cargo would take make's job server for its own. CARGO_TARGET_DIR: below it cxx links to
  # what it generates.
  COMMAND "${CMAKE_COMMAND}" -E env --unset=MAKEFLAGS "CARGO_TARGET_DIR=${cargo_target_dir}"
    MONAD_ASYNC_GLUE_ONLY=1
    "CC=${CMAKE_C_COMPILER}" "CXX=${CMAKE_CXX_COMPILER}" "AR=${CMAKE_AR}"
    "CXXFLAGS=${cargo_cxxflags}" CC_SHELL_ESCAPED_FLAGS=1
    "${MONAD_ASYNC_CARGO}" rustc ${cargo_flags} ${cargo_more_flags} --lib --crate-type staticlib
      --target-dir "${cargo_target_dir}"
  COMMAND "${CMAKE_COMMAND}" -E copy_if_different
    "${cargo_target_dir}/cxxbridge/monad-async/src/bridge.rs.cc"
    "${cargo_target_dir}/cxxbridge/monad-async/src/bridge.rs.h" "${glue}"
  # Where cargo found nothing to do the archive is as old as it was, and make would ask again.
  COMMAND "${CMAKE_COMMAND}" -E touch "${archive}"
  DEPFILE "${cargo_out_dir}/libmonad_async.d"
  DEPENDS Cargo.toml Cargo.lock build.rs
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
  COMMENT "Building the Rust core" VERBATIM)
add_custom_target(monad_async_cargo DEPENDS "${archive}")

# By CMake, not by cargo: a change of a header compiles what includes it, and no Rust. What a parent
# project says of its own targets does not count here.
add_library(monad_async_cpp STATIC EXCLUDE_FROM_ALL "${glue}/bridge.rs.cc"
  cpp/current.cpp
  cpp/cxa_globals.cpp
  cpp/die.cpp
  cpp/executor.cpp
  cpp/patience.cpp
  cpp/scope.cpp
  cpp/task.cpp)
add_dependencies(monad_async_cpp monad_async_cargo)
set_target_properties(monad_async_cpp PROPERTIES
  COMPILE_OPTIONS "-Wall;-Wextra;-g;$<$<NOT:$<CONFIG:Debug>>:-O3>;-ffunction-sections;-fdata-sections;-fno-omit-frame-pointer;${cxx_flags}"
  INCLUDE_DIRECTORIES "${CMAKE_CURRENT_BINARY_DIR}/glue;${CMAKE_CURRENT_SOURCE_DIR}/include"
  CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
  CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN OFF POSITION_INDEPENDENT_CODE ON
  INTERPROCEDURAL_OPTIMIZATION OFF UNITY_BUILD OFF COMPILE_WARNING_AS_ERROR OFF
  CXX_CLANG_TIDY "" CXX_INCLUDE_WHAT_YOU_USE "" CXX_CPPCHECK "" CXX_CPPLINT "")

set(abi_list "${CMAKE_CURRENT_SOURCE_DIR}/cmake/abi.list")
set(merged "${CMAKE_CURRENT_BINARY_DIR}/monad_async_merged.o")
set(monad_async_object "${CMAKE_CURRENT_BINARY_DIR}/monad_async.o")
add_custom_command(
  OUTPUT "${monad_async_object}"
  # bfd: the only linker whose -r resolves section groups (--force-group-allocation), without which
  # localised symbols end in "discarded section" errors. No GC here: it makes weak undefined symbols
  # strong; the final link collects.
  COMMAND "${CMAKE_CXX_COMPILER}" -nostdlib -r -fuse-ld=bfd -Wl,--force-group-allocation
    -Wl,--whole-archive "${archive}" "$<TARGET_FILE:monad_async_cpp>" -Wl,--no-whole-archive
    -o "${merged}"
  # .llvmbc, .llvmcmd: merged bitcode crashes ranlib's LLVM plugin.
  COMMAND "${CMAKE_OBJCOPY}" --wildcard --remove-section=.llvmbc --remove-section=.llvmcmd
    "--keep-global-symbols=${abi_list}" "${merged}" "${monad_async_object}"
  COMMAND "${CMAKE_COMMAND}" -E rm "${merged}"
  DEPENDS "${archive}" monad_async_cpp "${abi_list}"
  COMMENT "Keeping only the public symbols" VERBATIM)
