# `cpack -G DEB` in the build tree: the library, what a compiler needs of it, the debug information,
# and what there is to read. Each by the rules of Debian, which lintian knows.
if(NOT MONAD_ASYNC_PACKAGES OR NOT top_level OR NOT MONAD_ASYNC_INSTALL)
  return()
endif()
if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  message(FATAL_ERROR "MONAD_ASYNC_PACKAGES: packages go to -DCMAKE_INSTALL_PREFIX=/usr")
endif()
if(NOT "static" IN_LIST MONAD_ASYNC_LIBRARIES OR NOT "shared" IN_LIST MONAD_ASYNC_LIBRARIES)
  message(FATAL_ERROR "MONAD_ASYNC_PACKAGES: packages have both libraries")
endif()
find_program(gzip gzip REQUIRED)
find_program(strip strip REQUIRED)

set(development_package libmonad-async-dev)
set(documentation_package libmonad-async-doc)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME ${runtime_package})
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME ${development_package})
set(CPACK_DEBIAN_DOCUMENTATION_PACKAGE_NAME ${documentation_package})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DOCUMENTATION_PACKAGE_SECTION doc)
set(CPACK_DEBIAN_DOCUMENTATION_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${runtime_package} (= ${PROJECT_VERSION}), libc6-dev, g++ | libstdc++-dev, python3:any")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS ${documentation_package})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_DEBUGINFO_PACKAGE ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime development documentation)
set(CPACK_PACKAGE_NAME monad-async)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "monad_async <maintainers@monad-async.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "io_uring executor for stackful tasks")
set(what "Tasks with stacks of their own, scheduled by strict priority on
 one thread, over one io_uring, for C and C++.")
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "${what}\n .\n This is the shared library.")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
  "${what}\n .\n Headers, the static library, and files for CMake, pkg-config, gdb.")
set(CPACK_COMPONENT_DOCUMENTATION_DESCRIPTION "${what}\n .\n Documentation and examples.")
foreach(component RUNTIME DEVELOPMENT DOCUMENTATION)
  string(REPLACE "\n " "\n" CPACK_COMPONENT_${component}_DESCRIPTION
    "${CPACK_COMPONENT_${component}_DESCRIPTION}")
endforeach()
# The archive is stripped of what a debugger reads, as every package's is.
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_BINARY_DIR}/packages/strip.cmake")
file(CONFIGURE OUTPUT packages/strip.cmake @ONLY CONTENT [[
file(GLOB_RECURSE archives "${CPACK_TEMPORARY_INSTALL_DIRECTORY}/*.a")
foreach(archive ${archives})
  execute_process(COMMAND "@strip@" --strip-debug --remove-section=.comment --remove-section=.note
    --enable-deterministic-archives "${archive}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
]])

# Where Debian has a trigger for it, CPack adds scripts that call ldconfig, asked or not: the package
# is put together again without them.
find_program(dpkg_deb dpkg-deb REQUIRED)
set(CPACK_POST_BUILD_SCRIPTS "${CMAKE_CURRENT_BINARY_DIR}/packages/no-scripts.cmake")
file(CONFIGURE OUTPUT packages/no-scripts.cmake @ONLY CONTENT [[
foreach(package ${CPACK_PACKAGE_FILES})
  if(package MATCHES "/@runtime_package@_[^/]*[.]deb$")
    set(unpacked "${CPACK_TEMPORARY_DIRECTORY}/unpacked")
    execute_process(COMMAND "@dpkg_deb@" --raw-extract "${package}" "${unpacked}"
      COMMAND_ERROR_IS_FATAL ANY)
    file(REMOVE "${unpacked}/DEBIAN/postinst" "${unpacked}/DEBIAN/postrm")
    execute_process(COMMAND "@dpkg_deb@" --root-owner-group --build "${unpacked}" "${package}"
      COMMAND_ERROR_IS_FATAL ANY)
    file(REMOVE_RECURSE "${unpacked}")
  endif()
endforeach()
]])
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/packages/shlibs"
  "libmonad_async ${MONAD_ASYNC_COMPATIBILITY} ${runtime_package} (>= ${PROJECT_VERSION})\n")
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/packages/triggers" "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA "${CMAKE_CURRENT_BINARY_DIR}/packages/shlibs"
  "${CMAKE_CURRENT_BINARY_DIR}/packages/triggers")

configure_file(packaging/debian/copyright.in packages/copyright @ONLY)
# The time of the build, or what SOURCE_DATE_EPOCH says.
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/packages/changelog"
  "monad-async (${PROJECT_VERSION}) unstable; urgency=medium

  * Version ${PROJECT_VERSION}; what is new in it: CHANGELOG.md in ${documentation_package}.

 -- ${CPACK_PACKAGE_CONTACT}  ${now}\n")
# -n: no date in it.
execute_process(COMMAND "${gzip}" -9nkf "${CMAKE_CURRENT_BINARY_DIR}/packages/changelog"
  COMMAND_ERROR_IS_FATAL ANY)
file(COPY docs/monad-async-trace.1 DESTINATION "${CMAKE_CURRENT_BINARY_DIR}/packages")
execute_process(COMMAND "${gzip}" -9nkf "${CMAKE_CURRENT_BINARY_DIR}/packages/monad-async-trace.1"
  COMMAND_ERROR_IS_FATAL ANY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/packages/monad-async-trace.1.gz"
  DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT development)
foreach(component runtime development documentation)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/packages/copyright"
    "${CMAKE_CURRENT_BINARY_DIR}/packages/changelog.gz"
    DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc/${${component}_package}" COMPONENT ${component})
endforeach()
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
  GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS ${CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS})
include(CPack)
