# SPDX-License-Identifier: MIT
# Finds what the headers of adze use. Read by the build and by the installed package alike.
# All but zlib are headers, so a folder is all there is to find. Set ADZE_XSIMD_INCLUDE_DIR,
# ADZE_EIGEN_INCLUDE_DIR or ADZE_DOCTEST_INCLUDE_DIR to name one yourself.
# (Debian's xsimd target links a library that its package does not bring, and Eigen 5 refuses
# requests for 3.x: so neither is asked for by find_package.)

# Sets `variable` to the folder that holds `header`; fetched when allowed and not on the system.
function(adze_find_headers variable header name repository tag folder)
  find_path(${variable} ${header} PATH_SUFFIXES eigen3)
  if(NOT ${variable} AND ADZE_FETCH_DEPENDENCIES)
    include(FetchContent)
    # No such SOURCE_SUBDIR: the headers are taken, their build is not run.
    FetchContent_Declare(${name} GIT_REPOSITORY ${repository} GIT_TAG ${tag} GIT_SHALLOW ON
                         SOURCE_SUBDIR headers-only)
    FetchContent_MakeAvailable(${name})
    set(${variable} "${${name}_SOURCE_DIR}/${folder}" CACHE PATH "Folder of ${header}" FORCE)
  endif()
endfunction()

# Attaches xsimd and Eigen to `target`, and makes adze::zlib where zlib is found.
function(adze_attach_dependencies target)
  adze_find_headers(ADZE_XSIMD_INCLUDE_DIR xsimd/xsimd.hpp
                    adze_xsimd https://github.com/xtensor-stack/xsimd.git 13.0.0 include)
  adze_find_headers(ADZE_EIGEN_INCLUDE_DIR Eigen/Core
                    adze_eigen https://gitlab.com/libeigen/eigen.git 3.4.0 .)
  mark_as_advanced(ADZE_XSIMD_INCLUDE_DIR ADZE_EIGEN_INCLUDE_DIR)

  set(simd OFF)
  if(ADZE_XSIMD_INCLUDE_DIR)
    file(STRINGS "${ADZE_XSIMD_INCLUDE_DIR}/xsimd/config/xsimd_config.hpp" simd
         REGEX "define XSIMD_VERSION_(MAJOR|MINOR)")
    string(REGEX REPLACE "[^0-9;]" "" simd "${simd}")
    string(REPLACE ";" "." simd "${simd}")
  endif()
  if(simd VERSION_GREATER_EQUAL 8.1)
    target_include_directories(${target} SYSTEM INTERFACE "${ADZE_XSIMD_INCLUDE_DIR}")
  else()
    message(WARNING "adze: xsimd >= 8.1 not found, kernels fall back to one lane at a time. "
                    "Install it (Debian: libxsimd-dev) or set ADZE_XSIMD_INCLUDE_DIR.")
  endif()
  if(ADZE_EIGEN_INCLUDE_DIR)
    target_include_directories(${target} SYSTEM INTERFACE "${ADZE_EIGEN_INCLUDE_DIR}")
  else()
    message(STATUS "adze: Eigen not found, <adze/kernels/linalg.hpp> cannot be included")
  endif()

  find_package(ZLIB QUIET)
  if(ZLIB_FOUND AND NOT TARGET adze::zlib)
    add_library(adze::zlib INTERFACE IMPORTED GLOBAL)
    target_include_directories(adze::zlib INTERFACE ${ZLIB_INCLUDE_DIRS})
    target_link_libraries(adze::zlib INTERFACE ${ZLIB_LIBRARIES})
    target_compile_definitions(adze::zlib INTERFACE ADZE_ZLIB)  # examples read .gz where it is set
  endif()
endfunction()
