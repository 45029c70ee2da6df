# Headers, libraries, CMake package, pkg-config file, licenses. Nothing installed names the place it
# was installed to, so that the whole can be moved.
include(CMakePackageConfigHelpers)

set(FRAMEALLOC_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/framealloc)

install(DIRECTORY include/framealloc DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.h")
install(FILES LICENSE LICENSE-MIT LICENSE-APACHE DESTINATION ${CMAKE_INSTALL_DOCDIR}
  COMPONENT development)

foreach(kind IN ITEMS static shared)
  if(TARGET framealloc_${kind})
    install(TARGETS framealloc_${kind} EXPORT framealloc-${kind}-targets
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
      LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development
      RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
    install(EXPORT framealloc-${kind}-targets NAMESPACE framealloc::
      DESTINATION ${FRAMEALLOC_PACKAGE_DIR} COMPONENT development)
  endif()
endforeach()

configure_package_config_file(cmake/framealloc-config.cmake.in framealloc-config.cmake
  INSTALL_DESTINATION ${FRAMEALLOC_PACKAGE_DIR}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(framealloc-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/framealloc-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/framealloc-config-version.cmake
  DESTINATION ${FRAMEALLOC_PACKAGE_DIR} COMPONENT development)

# pkg-config: the prefix is found from where the file lies, unless the folders were given as
# absolute paths.
set(FRAMEALLOC_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(FRAMEALLOC_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
  set(FRAMEALLOC_PC_LIBDIR ${CMAKE_INSTALL_FULL_LIBDIR})
  set(FRAMEALLOC_PC_INCLUDEDIR ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
  file(RELATIVE_PATH FRAMEALLOC_PC_UP /prefix/${FRAMEALLOC_PC_DIR} /prefix)
  string(REGEX REPLACE "/$" "" FRAMEALLOC_PC_UP "${FRAMEALLOC_PC_UP}")
  set(FRAMEALLOC_PC_PREFIX "\${pcfiledir}/${FRAMEALLOC_PC_UP}")
  set(FRAMEALLOC_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(FRAMEALLOC_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/framealloc.pc.in framealloc.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/framealloc.pc DESTINATION ${FRAMEALLOC_PC_DIR}
  COMPONENT development)
