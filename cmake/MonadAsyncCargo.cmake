# Drives cargo, and turns its archive into one relocatable object whose only global symbols are
# those of abi.list: two Rust archives in one program define the same 150 symbols otherwise.
#
# Sets monad_async_object, the path of that object.
set(cargo_profile release)
set(cargo_profile_dir release)
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(cargo_profile dev)
  set(cargo_profile_dir debug)
endif()

set(cargo_flags --locked --profile ${cargo_profile})
# What cargo compiles of C++ is compiled as CMake would, but for what the project may ask of its own
# code and the library's cannot do with: bitcode, which `ld.bfd -r` does not read; no exceptions,
# another language version; and errors out of warnings that we do not know. -w never: warnings are
# ours to see. The flags are in a shell's words, as CMake's are.
set(cargo_cxxflags "${CMAKE_CXX_FLAGS} -fno-lto -fexceptions -std=c++17 -Wno-error")
if(MONAD_ASYNC_ASAN)
  list(APPEND cargo_flags --features asan)
  string(APPEND cargo_cxxflags " -fsanitize=address -fno-omit-frame-pointer")
endif()
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
    string(APPEND cargo_cxxflags " '-ffile-prefix-map=${pair}'")
  endforeach()
  list(JOIN remapped "," remapped)
  # Added to what cargo's configuration has there. RUSTFLAGS has precedence over it: who sets that,
  # as distributions do, has to say it there.
  list(APPEND cargo_flags --config "build.rustflags=[${remapped}]")
endif()
set(cargo_target_dir "${CMAKE_CURRENT_BINARY_DIR}/cargo")
set(cargo_out_dir "${cargo_target_dir}/${cargo_profile_dir}")
if(MONAD_ASYNC_RUST_TARGET)
  list(APPEND cargo_flags --target ${MONAD_ASYNC_RUST_TARGET})
  set(cargo_out_dir "${cargo_target_dir}/${MONAD_ASYNC_RUST_TARGET}/${cargo_profile_dir}")
endif()
separate_arguments(cargo_more_flags UNIX_COMMAND "${MONAD_ASYNC_CARGO_FLAGS}")

set(archive "${cargo_out_dir}/libmonad_async.a")
add_custom_command(
  OUTPUT "${archive}"
  # MAKEFLAGS: cargo would take make's job server for its own.
  COMMAND "${CMAKE_COMMAND}" -E env --unset=MAKEFLAGS --unset=CARGO_TARGET_DIR
    "CC=${CMAKE_C_COMPILER}" "CXX=${CMAKE_CXX_COMPILER}" "AR=${CMAKE_AR}"
    "CXXFLAGS=${cargo_cxxflags}" CC_SHELL_ESCAPED_FLAGS=1
    "${MONAD_ASYNC_CARGO}" rustc ${cargo_flags} ${cargo_more_flags} --lib --crate-type staticlib
      --target-dir "${cargo_target_dir}"
  # Where cargo found nothing to do the archive is as old as it was, and make would ask again.
  COMMAND "${CMAKE_COMMAND}" -E touch "${archive}"
  DEPFILE "${cargo_out_dir}/libmonad_async.d"
  DEPENDS Cargo.toml Cargo.lock build.rs
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
  COMMENT "Building the Rust core" VERBATIM)

set(abi_list "${CMAKE_CURRENT_SOURCE_DIR}/cmake/abi.list")
set(merged "${CMAKE_CURRENT_BINARY_DIR}/monad_async_merged.o")
set(monad_async_object "${CMAKE_CURRENT_BINARY_DIR}/monad_async.o")
add_custom_command(
  OUTPUT "${monad_async_object}"
  # bfd: the only linker whose -r resolves section groups (--force-group-allocation), without which
  # localised symbols end in "discarded section" errors. No GC here: it makes weak undefined symbols
  # strong; the final link collects.
  COMMAND "${CMAKE_CXX_COMPILER}" -nostdlib -r -fuse-ld=bfd -Wl,--force-group-allocation
    -Wl,--whole-archive "${archive}" -Wl,--no-whole-archive -o "${merged}"
  # .llvmbc, .llvmcmd: merged bitcode crashes ranlib's LLVM plugin.
  COMMAND "${CMAKE_OBJCOPY}" --wildcard --remove-section=.llvmbc --remove-section=.llvmcmd
    "--keep-global-symbols=${abi_list}" "${merged}" "${monad_async_object}"
  COMMAND "${CMAKE_COMMAND}" -E rm "${merged}"
  DEPENDS "${archive}" "${abi_list}"
  COMMENT "Keeping only the public symbols" VERBATIM)
