# An overlay port: it builds the source tree in which it lies.
#   vcpkg install monad-async --overlay-ports=packaging/vcpkg
# Rust is the machine's. The crates come from cargo's registry or, in the source tarball, from vendor/.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

set(library static)
if(VCPKG_LIBRARY_LINKAGE STREQUAL "dynamic")
  set(library shared)
endif()
vcpkg_cmake_configure(SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS -DMONAD_ASYNC_LIBRARIES=${library} -DMONAD_ASYNC_REMAP_PATHS=ON)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME monad_async CONFIG_PATH lib/cmake/monad_async)
vcpkg_fixup_pkgconfig()

# A script: the same in both, and no program of the library's user.
file(MAKE_DIRECTORY "${CURRENT_PACKAGES_DIR}/tools/${PORT}")
file(RENAME "${CURRENT_PACKAGES_DIR}/bin/monad-async-trace"
  "${CURRENT_PACKAGES_DIR}/tools/${PORT}/monad-async-trace")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE"
  "${CURRENT_PACKAGES_DIR}/share/doc/monad_async/THIRD_PARTY_LICENSES")
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/bin" "${CURRENT_PACKAGES_DIR}/debug/bin"
  "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
