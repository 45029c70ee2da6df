# What holds for every target of this project and for no target of anybody else.

# The warnings are kept in text files, because the scripts of `make test` use them too.
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/warnings.txt FRAMEALLOC_WARNINGS)
file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/warnings_c.txt FRAMEALLOC_WARNINGS_C)

# Language standard, warnings, and file names in messages that do not depend on where the tree lies.
function(framealloc_own_target target)
  set_target_properties(${target} PROPERTIES
    C_STANDARD 17 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
    CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF)
  if(FRAMEALLOC_WERROR)
    set_target_properties(${target} PROPERTIES COMPILE_WARNING_AS_ERROR ON)
  endif()
  if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang" AND NOT MSVC)
    target_compile_options(${target} PRIVATE
      ${FRAMEALLOC_WARNINGS}
      "$<$<COMPILE_LANGUAGE:C>:${FRAMEALLOC_WARNINGS_C}>"
      -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
  elseif(MSVC)
    target_compile_options(${target} PRIVATE /W4 /utf-8)
  endif()
endfunction()

# A folder of the project that may not be there yet.
macro(framealloc_add_part folder)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${folder}/CMakeLists.txt)
    add_subdirectory(${folder})
  endif()
endmacro()
