# The target monad_async_docs: Doxygen over the public headers, the pages of docs/ and the examples, into docs/html of
# the build tree. The README is its main page. A warning, such as a parameter that is not described, is an error.
find_package(Doxygen QUIET)
if(NOT DOXYGEN_FOUND)
  return()
endif()

# In the order in which they are read; what is not named, behind.
set(topics tour lifetimes cancellation priorities errors buffers signals_and_fork coming_from debugging tracing
  performance linking versioning reliability)
file(GLOB others "${CMAKE_CURRENT_SOURCE_DIR}/docs/*.md")
list(TRANSFORM others REPLACE "^.*/([^/]*)\\.md$" "\\1")
list(APPEND topics ${others})
list(REMOVE_DUPLICATES topics)
list(TRANSFORM topics REPLACE "(.+)" "docs/\\1.md")
set(pages README.md ${topics})
list(APPEND pages CONTRIBUTING.md CHANGELOG.md SECURITY.md)
list(TRANSFORM pages PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")

# A page for each example: the headers quote parts of them.
file(GLOB examples "${CMAKE_CURRENT_SOURCE_DIR}/examples/*.c"
  "${CMAKE_CURRENT_SOURCE_DIR}/examples/*.h" "${CMAKE_CURRENT_SOURCE_DIR}/examples/*.[ch]pp")
set(listed "")
foreach(example ${examples})
  get_filename_component(name "${example}" NAME)
  string(APPEND listed "/** @example ${name} */\n")
endforeach()
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/docs/examples.dox" CONTENT "${listed}" @ONLY)

set(DOXYGEN_QUIET YES)
set(DOXYGEN_WARN_AS_ERROR FAIL_ON_WARNINGS)
set(DOXYGEN_WARN_NO_PARAMDOC YES)
set(DOXYGEN_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/docs")
set(DOXYGEN_STRIP_FROM_PATH "${CMAKE_CURRENT_SOURCE_DIR}/include" "${CMAKE_CURRENT_SOURCE_DIR}"
  "${CMAKE_CURRENT_BINARY_DIR}")
set(DOXYGEN_STRIP_FROM_INC_PATH "${CMAKE_CURRENT_SOURCE_DIR}/include")
set(DOXYGEN_INCLUDE_PATH "${CMAKE_CURRENT_SOURCE_DIR}/include")
set(DOXYGEN_EXAMPLE_PATH "${CMAKE_CURRENT_SOURCE_DIR}/examples")
set(DOXYGEN_IMAGE_PATH "${CMAKE_CURRENT_SOURCE_DIR}/docs")
set(DOXYGEN_USE_MDFILE_AS_MAINPAGE "${CMAKE_CURRENT_SOURCE_DIR}/README.md")
set(DOXYGEN_FILTER_PATTERNS "\"*.md=sed -E -f '${CMAKE_CURRENT_SOURCE_DIR}/docs/doxygen/links.sed'\"")
set(DOXYGEN_HTML_EXTRA_STYLESHEET "${CMAKE_CURRENT_SOURCE_DIR}/docs/doxygen/style.css")
set(DOXYGEN_HTML_EXTRA_FILES "${CMAKE_CURRENT_SOURCE_DIR}/docs/trace.schema.json")
set(DOXYGEN_GENERATE_TREEVIEW YES)
set(DOXYGEN_TREEVIEW_WIDTH 300)
set(DOXYGEN_HTML_TIMESTAMP NO)
set(DOXYGEN_TOC_INCLUDE_HEADINGS 0)
# What is for the headers alone, not for those who include them.
set(DOXYGEN_EXCLUDE "${CMAKE_CURRENT_SOURCE_DIR}/include/monad/async/detail")
set(DOXYGEN_EXCLUDE_SYMBOLS "monad::async::v0::detail*" "monad::async_bridge*")
set(DOXYGEN_JAVADOC_AUTOBRIEF YES)
set(DOXYGEN_OPTIMIZE_OUTPUT_FOR_C NO)
set(DOXYGEN_EXTENSION_MAPPING h=C++)
set(DOXYGEN_MACRO_EXPANSION YES)
set(DOXYGEN_EXPAND_ONLY_PREDEF YES)
set(DOXYGEN_PREDEFINED "MONAD_ASYNC_API=" "MONAD_ASYNC_LOCAL=" "MONAD_ASYNC_NODISCARD=" "MONAD_ASYNC_DEPRECATED(x)=" "__extension__=" "MONAD_ASYNC_NOEXCEPT=" "MONAD_ASYNC_EXTERN_C_BEGIN="
  "MONAD_ASYNC_EXTERN_C_END=" "__cplusplus=202002L" "__cpp_concepts=202002L" "__cpp_exceptions=1" "__cpp_impl_coroutine=201902L"
  "__cpp_lib_jthread=201911L"
  "__linux__" "__LP64__")
set(DOXYGEN_INLINE_SOURCES NO)
set(DOXYGEN_SORT_MEMBER_DOCS NO)
set(DOXYGEN_GENERATE_HTML YES)
set(DOXYGEN_GENERATE_LATEX NO)
doxygen_add_docs(monad_async_docs "${CMAKE_CURRENT_SOURCE_DIR}/include" ${pages}
  "${CMAKE_CURRENT_BINARY_DIR}/docs/examples.dox" COMMENT "Generating the documentation")
