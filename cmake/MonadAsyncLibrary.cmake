# The targets:
#   monad::async_static, monad::async_shared   the library itself
#   monad::async                               C++ and C: one of the two, headers, C++17
#   monad::async_c                             C alone: the same without any wish for C++
set(monad_async_include "${CMAKE_CURRENT_SOURCE_DIR}/include")

# The library is one object for both. The static archive asks the C linker driver, so that a project
# without C++ can link it; it names the C++ runtime itself, by -l, as -static needs.
set(runtime -lstdc++ -lpthread -lm -ldl)

set_source_files_properties("${monad_async_object}" PROPERTIES GENERATED ON EXTERNAL_OBJECT ON)
# One rule makes the object for both: without this, make would run cargo twice side by side.
add_custom_target(monad_async_object DEPENDS "${monad_async_object}")
add_dependencies(monad_async_object monad_async_cargo)

add_library(monad_async_static STATIC "${monad_async_object}")
set_target_properties(monad_async_static PROPERTIES
  LINKER_LANGUAGE C OUTPUT_NAME monad_async EXPORT_NAME async_static)
target_link_libraries(monad_async_static INTERFACE ${runtime})

file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/cmake/abi.list" globs REGEX "^[^#!]")
list(JOIN globs ";\n    " globs)
set(version_script "${CMAKE_CURRENT_BINARY_DIR}/monad_async.map")
file(CONFIGURE OUTPUT "${version_script}" @ONLY CONTENT [[
MONAD_ASYNC_@MONAD_ASYNC_COMPATIBILITY@ {
  global:
    @globs@;
  local:
    *;
};
]])
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  "${CMAKE_CURRENT_SOURCE_DIR}/cmake/abi.list")

add_library(monad_async_shared SHARED "${monad_async_object}")
set_target_properties(monad_async_shared PROPERTIES
  LINKER_LANGUAGE CXX OUTPUT_NAME monad_async EXPORT_NAME async_shared
  VERSION ${PROJECT_VERSION} SOVERSION ${MONAD_ASYNC_COMPATIBILITY}
  LINK_DEPENDS "${version_script}")
# nodelete: the handler that reports stack overflows stays installed, so its code must stay too.
# -Xlinker: a comma in the name of a directory would end the option.
target_link_options(monad_async_shared PRIVATE -Wl,-z,nodelete
  "SHELL:-Xlinker '--version-script=${version_script}'" -Wl,--gc-sections -Wl,--as-needed)
target_link_libraries(monad_async_shared PRIVATE -lpthread -lm -ldl)
if(monad_async_sanitizer)
  # Undefined symbols of the sanitizer's runtime come from the program with clang.
  target_link_options(monad_async_shared PUBLIC ${monad_async_sanitizer})
  target_link_options(monad_async_static INTERFACE ${monad_async_sanitizer})
else()
  target_link_options(monad_async_shared PRIVATE -Wl,-z,defs)
endif()

foreach(flavour static shared)
  add_dependencies(monad_async_${flavour} monad_async_object)
  if(NOT flavour IN_LIST MONAD_ASYNC_LIBRARIES)
    set_target_properties(monad_async_${flavour} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
  add_library(monad::async_${flavour} ALIAS monad_async_${flavour})
  target_include_directories(monad_async_${flavour} INTERFACE
    "$<BUILD_INTERFACE:${monad_async_include}>")
  target_compile_definitions(monad_async_${flavour} INTERFACE ${monad_async_definitions})
endforeach()

# In the build tree, and for add_subdirectory and FetchContent. An installed package makes these two
# in its config file, where the consumer's components are known.
set(flavour static)
if(MONAD_ASYNC_SHARED OR MONAD_ASYNC_LIBRARIES STREQUAL "shared")
  set(flavour shared)
endif()
add_library(monad_async_cxx INTERFACE)
target_link_libraries(monad_async_cxx INTERFACE monad_async_${flavour})
target_compile_features(monad_async_cxx INTERFACE cxx_std_17)
add_library(monad::async ALIAS monad_async_cxx)
add_library(monad_async_c INTERFACE)
target_link_libraries(monad_async_c INTERFACE monad_async_${flavour})
add_library(monad::async_c ALIAS monad_async_c)
