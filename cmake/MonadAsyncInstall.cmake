# What `cmake --install` puts under the prefix. No file holds the prefix: it may be moved afterwards.
# By component: runtime (what a program needs that was linked), development, documentation, examples.
if(NOT MONAD_ASYNC_INSTALL)
  return()
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/monad_async")
set_target_properties(monad_async_static monad_async_shared PROPERTIES
  INSTALL_RPATH "" BUILD_WITH_INSTALL_RPATH ON)

install(DIRECTORY include/monad TYPE INCLUDE COMPONENT development FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
# As a subproject, CMAKE_INSTALL_DOCDIR is the parent's.
set(doc_dir "${CMAKE_INSTALL_DOCDIR}")
if(NOT top_level)
  set(doc_dir "${CMAKE_INSTALL_DATAROOTDIR}/doc/monad_async")
endif()
# A licence goes with what it is of; the documentation is what may be left away.
include("${monad_async_cmake}/MonadAsyncCrates.cmake")
# Debian's packages have one for all that is to be read. What goes with a library there has its SONAME
# in its path: the packages of two series lie next to each other. LICENSE is in their copyright file.
set(examples_component examples)
set(licence LICENSE)
set(runtime_doc_dir "${doc_dir}")
set(runtime_package "libmonad-async${MONAD_ASYNC_COMPATIBILITY}")
if(MONAD_ASYNC_PACKAGES)
  set(examples_component documentation)
  set(licence "")
  set(runtime_doc_dir "${CMAKE_INSTALL_DATAROOTDIR}/doc/${runtime_package}")
endif()
install(FILES ${licence} "${monad_async_licences}" "${monad_async_sbom}"
  DESTINATION "${runtime_doc_dir}" COMPONENT runtime)
install(FILES README.md CHANGELOG.md DESTINATION "${doc_dir}" COMPONENT documentation)
install(DIRECTORY docs DESTINATION "${doc_dir}" COMPONENT documentation
  FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN "*.json" PATTERN doxygen EXCLUDE)
# The headers quote them.
install(DIRECTORY examples DESTINATION "${doc_dir}" COMPONENT ${examples_component}
  FILES_MATCHING PATTERN "*.c" PATTERN "*.h" PATTERN "*.[ch]pp" PATTERN "CMakeLists.txt")
install(PROGRAMS tools/monad-async-trace TYPE BIN COMPONENT development)
if(NOT MONAD_ASYNC_PACKAGES) # Which have it compressed.
  install(FILES docs/monad-async-trace.1 DESTINATION "${CMAKE_INSTALL_MANDIR}/man1"
    COMPONENT development)
endif()
install(FILES cmake/tsan.supp DESTINATION "${CMAKE_INSTALL_DATADIR}/monad_async"
  COMPONENT development)
# One export set a flavour: a distribution may leave one out, and the config file copes.
foreach(flavour ${MONAD_ASYNC_LIBRARIES})
  install(TARGETS monad_async_${flavour} EXPORT monad_async_${flavour}
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime
      NAMELINK_COMPONENT development
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(EXPORT monad_async_${flavour} NAMESPACE monad:: DESTINATION "${package_dir}"
    FILE monad_async-${flavour}-targets.cmake COMPONENT development)
endforeach()

configure_package_config_file(cmake/monad_async-config.cmake.in monad_async-config.cmake
  INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(monad_async-config-version.cmake
  COMPATIBILITY ${MONAD_ASYNC_COMPATIBLE_WITH})
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/monad_async-config.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/monad_async-config-version.cmake" DESTINATION "${package_dir}"
  COMPONENT development)

# pkg-config: the shared library, and (monad_async_static) the archive by its name, since a linker
# that finds both takes the shared one.
# An absolute directory stands as it is; the prefix is then not to be found from it.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH pc_prefix "/p/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/p")
  string(REGEX REPLACE "/$" "" pc_prefix "\${pcfiledir}/${pc_prefix}")
endif()
foreach(dir INCLUDEDIR LIBDIR)
  set(pc_${dir} "${CMAKE_INSTALL_${dir}}")
  if(NOT IS_ABSOLUTE "${pc_${dir}}")
    set(pc_${dir} "\${prefix}/${pc_${dir}}")
  endif()
endforeach()
set(pc_sanitizer "")
if(monad_async_sanitizer)
  set(pc_sanitizer " ${monad_async_sanitizer}")
endif()
set(pc_definitions "")
if(monad_async_definitions)
  set(pc_definitions " -D${monad_async_definitions}")
endif()
# A linker that finds the archive alone takes it for -lmonad_async, and needs what it refers to.
set(pc_runtime "")
set(pc_modules monad_async monad_async_static)
if(NOT "shared" IN_LIST MONAD_ASYNC_LIBRARIES)
  set(pc_runtime " ${runtime}")
  string(REPLACE ";" " " pc_runtime "${pc_runtime}")
elseif(NOT "static" IN_LIST MONAD_ASYNC_LIBRARIES)
  set(pc_modules monad_async)
endif()
foreach(pc ${pc_modules})
  configure_file(cmake/${pc}.pc.in ${pc}.pc @ONLY)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${pc}.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT development)
endforeach()
include("${monad_async_cmake}/MonadAsyncDebugger.cmake")
