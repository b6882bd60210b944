# Installs gdb's commands (docs/debugging.md): to be sourced, and where gdb finds them by itself when
# a program loads the shared library. Programs with the static library carry them along.
set(MONAD_ASYNC_GDB_AUTO_LOAD_DIR "" CACHE STRING
  "Where the auto-loaded copy goes; empty: below gdb's own directory for /usr, else beside the library")
set(auto_load_dir "${MONAD_ASYNC_GDB_AUTO_LOAD_DIR}")
if(NOT auto_load_dir AND CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  # Trusted without being asked for.
  set(auto_load_dir "${CMAKE_INSTALL_DATADIR}/gdb/auto-load${CMAKE_INSTALL_FULL_LIBDIR}")
elseif(NOT auto_load_dir)
  set(auto_load_dir "${CMAKE_INSTALL_LIBDIR}")
endif()
install(FILES gdb/monad-async-gdb.py DESTINATION "${CMAKE_INSTALL_DATADIR}/monad_async")
install(FILES gdb/monad-async-gdb.py DESTINATION "${auto_load_dir}"
  RENAME "libmonad_async.so.${PROJECT_VERSION}-gdb.py")
