# In place of vcpkg's functions: what a portfile calls, done by CMake alone. To be run with `cmake -P`,
# with PORTFILE, LINKAGE, BUILT (a build tree that has the libraries) and OUT.
cmake_minimum_required(VERSION 3.22)
set(PORT monad-async)
set(VCPKG_LIBRARY_LINKAGE ${LINKAGE})
set(CURRENT_PACKAGES_DIR "${OUT}/packages")
set(CURRENT_BUILDTREES_DIR "${OUT}/buildtrees")
file(REMOVE_RECURSE "${OUT}")

# Each of vcpkg's two configurations is a build tree of its own, whose prefix is the packages' or
# debug/ below it. Options that CMake does not use are an error.
function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "vcpkg_cmake_configure: ${arg_UNPARSED_ARGUMENTS}?")
  endif()
  foreach(configuration Debug Release)
    set(prefix "${CURRENT_PACKAGES_DIR}")
    if(configuration STREQUAL "Debug")
      string(APPEND prefix "/debug")
    endif()
    execute_process(COMMAND "${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}"
        -B "${CURRENT_BUILDTREES_DIR}/${configuration}" -G Ninja -DCMAKE_BUILD_TYPE=${configuration}
        -DCMAKE_INSTALL_PREFIX=${prefix} ${arg_OPTIONS}
      OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE failed)
    if(failed OR said MATCHES "Manually-specified variables were not used")
      message(FATAL_ERROR "${said}")
    endif()
  endforeach()
endfunction()

# With what was built elsewhere.
function(vcpkg_cmake_install)
  foreach(configuration Debug Release)
    set(tree "${CURRENT_BUILDTREES_DIR}/${configuration}")
    file(GLOB built "${BUILT}/libmonad_async.*" "${BUILT}/THIRD_PARTY_LICENSES" "${BUILT}/*.cdx.json")
    file(COPY ${built} DESTINATION "${tree}")
    execute_process(COMMAND "${CMAKE_COMMAND}" --install "${tree}" OUTPUT_QUIET
      COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endfunction()

# The files for CMake of both configurations, in share/; the prefix is two levels up from there.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "PACKAGE_NAME;CONFIG_PATH" "")
  set(share "${CURRENT_PACKAGES_DIR}/share/${arg_PACKAGE_NAME}")
  file(GLOB files "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}/*.cmake")
  file(GLOB debug "${CURRENT_PACKAGES_DIR}/debug/${arg_CONFIG_PATH}/*-debug.cmake")
  if(NOT files OR NOT debug)
    message(FATAL_ERROR "nothing in ${arg_CONFIG_PATH}")
  endif()
  file(COPY ${files} ${debug} DESTINATION "${share}")
  file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/lib/cmake" "${CURRENT_PACKAGES_DIR}/debug/lib/cmake")
  file(GLOB files "${share}/*.cmake")
  foreach(file ${files})
    file(READ "${file}" text)
    if(file MATCHES "-debug[.]cmake$")
      string(REPLACE "\${_IMPORT_PREFIX}/lib" "\${_IMPORT_PREFIX}/debug/lib" text "${text}")
    endif()
    # One level less than in lib/cmake/NAME.
    string(REPLACE "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\nif(_IMPORT_PREFIX"
      "if(_IMPORT_PREFIX" text "${text}")
    file(WRITE "${file}" "${text}")
  endforeach()
endfunction()

function(vcpkg_fixup_pkgconfig)
  file(GLOB files "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/*.pc")
  if(NOT files)
    message(FATAL_ERROR "no file for pkg-config")
  endif()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  foreach(file ${arg_FILE_LIST})
    file(READ "${file}" text)
    file(APPEND "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright" "${text}")
  endforeach()
endfunction()

include("${PORTFILE}")
