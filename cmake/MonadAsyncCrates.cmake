# What is inside the library that is not ours: the crates that are linked in, and Rust's own library.
# Makes, at build time, THIRD_PARTY_LICENSES (who, under which licence, every text) and a list for
# machines (an SBOM: CycloneDX, JSON). Neither holds a date or a path.
#
# Included by the build, it defines the target monad_async_crates. Run with `cmake -P`, it does the
# work; so neither needs a tool that the build does not need.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(monad_async_licences "${CMAKE_CURRENT_BINARY_DIR}/THIRD_PARTY_LICENSES")
  set(monad_async_sbom "${CMAKE_CURRENT_BINARY_DIR}/monad_async.cdx.json")
  add_custom_command(OUTPUT "${monad_async_licences}" "${monad_async_sbom}"
    COMMAND "${CMAKE_COMMAND}" -E env --unset=MAKEFLAGS
      "${CMAKE_COMMAND}" "-DCARGO=${MONAD_ASYNC_CARGO}" "-DRUSTC=${MONAD_ASYNC_RUSTC}"
      "-DTARGET=${MONAD_ASYNC_RUST_TARGET}"
      "-DFLAGS=${MONAD_ASYNC_CARGO_FLAGS}" "-DVERSION=${MONAD_ASYNC_VERSION}"
      "-DLICENCES=${monad_async_licences}" "-DSBOM=${monad_async_sbom}"
      -P "${monad_async_cmake}/MonadAsyncCrates.cmake"
    DEPENDS Cargo.toml Cargo.lock cmake/MonadAsyncCrates.cmake
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    COMMENT "Collecting the licences of what is linked in" VERBATIM)
  add_custom_target(monad_async_crates ALL DEPENDS "${monad_async_licences}" "${monad_async_sbom}")
  return()
endif()

cmake_minimum_required(VERSION 3.22)
# --offline and its like are for these, too; what only `cargo rustc` knows is not.
string(REGEX MATCHALL "--(offline|frozen|config[ =][^ ]+)" flags "${FLAGS}")
string(REPLACE " " ";" flags "${flags}")
set(target "")
if(TARGET)
  set(target --target ${TARGET})
endif()
function(ask variable)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE answer ERROR_VARIABLE said RESULT_VARIABLE failed
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed)
    message(FATAL_ERROR "${ARGN}: ${said}")
  endif()
  set(${variable} "${answer}" PARENT_SCOPE)
endfunction()

# Macros run in the compiler and leave nothing of theirs behind.
ask(tree "${CARGO}" tree --locked ${flags} ${target} -e normal,no-proc-macro --prefix depth
  --no-dedupe --format "{p}|{l}")
ask(metadata "${CARGO}" metadata --locked ${flags} --format-version 1)
if(NOT RUSTC)
  get_filename_component(bin "${CARGO}" DIRECTORY)
  find_program(RUSTC rustc HINTS "${bin}" NO_CACHE REQUIRED)
endif()
ask(rust "${RUSTC}" --version)
ask(sysroot "${RUSTC}" --print sysroot)
string(REGEX REPLACE "^rustc ([^ ]+).*" "\\1" rust "${rust}")

string(REPLACE "\n" ";" tree "${tree}")

# Who depends on whom: a line's parent is the last line before it that is one level less deep.
foreach(line ${tree})
  if(NOT line MATCHES "^([0-9]+)([^ ]+) v([^ |]+)")
    message(FATAL_ERROR "cannot read \"${line}\" of cargo tree")
  endif()
  set(depth ${CMAKE_MATCH_1})
  set(at_${depth} "${CMAKE_MATCH_2}_${CMAKE_MATCH_3}")
  set(purl_${at_${depth}} "pkg:cargo/${CMAKE_MATCH_2}@${CMAKE_MATCH_3}")
  if(depth GREATER 0)
    math(EXPR above "${depth} - 1")
    list(APPEND needs_${at_${above}} "${purl_${at_${depth}}}")
  endif()
endforeach()
list(TRANSFORM tree REPLACE "^[0-9]+" "")
list(REMOVE_DUPLICATES tree)
list(SORT tree)

# edges REFERENCE NEEDED...   Appends to the list of dependencies: REFERENCE depends on those.
macro(edges reference)
  set(needed ${ARGN})
  list(REMOVE_DUPLICATES needed)
  list(SORT needed)
  list(TRANSFORM needed REPLACE "(.+)" "\n        \"\\1\"")
  list(JOIN needed "," needed)
  string(APPEND depends ",\n    {\n      \"ref\": \"${reference}\",\n      \"dependsOn\": [${needed}]\n    }")
endmacro()

# Where each package lies.
string(JSON count LENGTH "${metadata}" packages)
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON package GET "${metadata}" packages ${i})
  string(JSON name GET "${package}" name)
  string(JSON version GET "${package}" version)
  string(JSON manifest GET "${package}" manifest_path)
  get_filename_component(dir_${name}_${version} "${manifest}" DIRECTORY)
endforeach()

# Each text once, with the names of those that carry it.
set(texts "")
macro(take who file)
  file(READ "${file}" text)
  string(SHA256 key "${text}")
  if(NOT key IN_LIST texts)
    list(APPEND texts ${key})
    set(text_${key} "${text}")
  endif()
  list(APPEND carriers_${key} "${who}")
endmacro()

file(READ Cargo.lock lock)
set(table "")
set(components "")
foreach(line ${tree})
  if(NOT line MATCHES "^([^ ]+) v([^ |]+)[^|]*\\|(.+)$")
    message(FATAL_ERROR "cannot read \"${line}\" of cargo tree")
  endif()
  set(name ${CMAKE_MATCH_1})
  set(version ${CMAKE_MATCH_2})
  # Old manifests write a slash for OR.
  string(REPLACE "/" " OR " licence "${CMAKE_MATCH_3}")
  if(name STREQUAL "monad-async")
    continue()
  endif()
  file(GLOB files LIST_DIRECTORIES false "${dir_${name}_${version}}/LICEN[CS]E*"
    "${dir_${name}_${version}}/COPYING*" "${dir_${name}_${version}}/NOTICE*"
    "${dir_${name}_${version}}/COPYRIGHT*")
  if(NOT files)
    message(FATAL_ERROR "${name} ${version} carries no text of its licence")
  endif()
  foreach(file ${files})
    take("${name} ${version}" "${file}")
  endforeach()
  string(APPEND table "${name} ${version}: ${licence}\n")
  string(REGEX MATCH "name = \"${name}\"\nversion = \"${version}\"\nsource[^\n]*\nchecksum = \"([0-9a-f]+)\""
    found "${lock}")
  set(hashes "")
  if(found)
    set(hashes ",\n      \"hashes\": [{ \"alg\": \"SHA-256\", \"content\": \"${CMAKE_MATCH_1}\" }]")
  endif()
  string(APPEND components ",\n    {
      \"type\": \"library\",
      \"bom-ref\": \"pkg:cargo/${name}@${version}\",
      \"name\": \"${name}\",
      \"version\": \"${version}\",
      \"purl\": \"pkg:cargo/${name}@${version}\",
      \"licenses\": [{ \"expression\": \"${licence}\" }]${hashes}
    }")
  edges("pkg:cargo/${name}@${version}" ${needs_${name}_${version}})
endforeach()

# Rust's library. A toolchain of a distribution may leave its texts out.
file(GLOB files LIST_DIRECTORIES false "${sysroot}/share/doc/rust/licenses/*"
  "${sysroot}/share/doc/rust/LICENSE*" "${sysroot}/share/doc/rust/COPYRIGHT-library*")
foreach(file ${files})
  # Those of the compiler alone are many; the library's own table says which are its.
  if(file MATCHES "/(LICENSE-|COPYRIGHT-library|Apache-2.0|MIT|BSD-|Unicode)[^/]*$")
    take("Rust ${rust} (std)" "${file}")
  endif()
endforeach()
string(APPEND table "Rust ${rust} (std, core, alloc): MIT OR Apache-2.0\n")
string(APPEND components ",\n    {
      \"type\": \"library\",
      \"bom-ref\": \"rust-std@${rust}\",
      \"name\": \"rust-std\",
      \"version\": \"${rust}\",
      \"licenses\": [{ \"expression\": \"MIT OR Apache-2.0\" }]
    }")
string(REGEX REPLACE "^,\n" "\n" components "${components}")
edges(monad_async ${needs_monad-async_${VERSION}} "rust-std@${rust}")
string(REGEX REPLACE "^,\n" "\n" depends "${depends}")
# A date only where the build has been given one.
set(timestamp "")
if(DEFINED ENV{SOURCE_DATE_EPOCH})
  string(TIMESTAMP timestamp "%Y-%m-%dT%H:%M:%SZ" UTC)
  set(timestamp "\n    \"timestamp\": \"${timestamp}\",")
endif()

file(WRITE "${LICENCES}" "monad_async ${VERSION} holds, next to its own code (LICENSE):\n\n${table}")
foreach(key ${texts})
  list(REMOVE_DUPLICATES carriers_${key})
  list(JOIN carriers_${key} ", " who)
  string(REPEAT "-" 78 rule)
  file(APPEND "${LICENCES}" "\n${rule}\n${who}\n${rule}\n\n${text_${key}}")
endforeach()

file(WRITE "${SBOM}" "{
  \"bomFormat\": \"CycloneDX\",
  \"specVersion\": \"1.5\",
  \"version\": 1,
  \"metadata\": {${timestamp}
    \"component\": {
      \"type\": \"library\",
      \"bom-ref\": \"monad_async\",
      \"name\": \"monad_async\",
      \"version\": \"${VERSION}\",
      \"purl\": \"pkg:generic/monad_async@${VERSION}\",
      \"licenses\": [{ \"license\": { \"id\": \"Apache-2.0\" } }]
    }
  },
  \"components\": [${components}
  ],
  \"dependencies\": [${depends}
  ]
}
")
