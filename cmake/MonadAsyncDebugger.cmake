# Installs gdb's commands (docs/debugging.md): to be sourced, and where gdb finds them by itself when
# a program loads the shared library. Programs with the static library carry them along.
set(MONAD_ASYNC_GDB_AUTO_LOAD_DIR "" CACHE STRING
  "Where the auto-loaded copy goes; empty: below gdb's own for /usr, else next to the library")
install(FILES gdb/monad-async-gdb.py DESTINATION "${CMAKE_INSTALL_DATADIR}/monad_async"
  COMPONENT development)
if(NOT "shared" IN_LIST MONAD_ASYNC_LIBRARIES)
  return()
endif()
set(auto_loaded "${CMAKE_CURRENT_BINARY_DIR}/libmonad_async.so.${PROJECT_VERSION}-gdb.py")
configure_file(gdb/monad-async-gdb.py "${auto_loaded}" COPYONLY)
if(MONAD_ASYNC_GDB_AUTO_LOAD_DIR)
  install(FILES "${auto_loaded}" DESTINATION "${MONAD_ASYNC_GDB_AUTO_LOAD_DIR}" COMPONENT development)
else()
  # The prefix is known only now: `cmake --install --prefix`. What is below gdb's own directory, at
  # the library's path, gdb trusts without being asked.
  install(CODE "
    get_filename_component(dir \"${CMAKE_INSTALL_LIBDIR}\" ABSOLUTE BASE_DIR \"\${CMAKE_INSTALL_PREFIX}\")
    if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
      set(dir \"/usr/share/gdb/auto-load\${dir}\")
    endif()
    file(INSTALL \"${auto_loaded}\" DESTINATION \"\${dir}\")" COMPONENT development)
endif()
